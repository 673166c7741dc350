"""Loss and gradients of an engine against the reference, on drawn pairs: `python benchmarks/parity.py FOLDER [ENGINE]`.

Without an engine it draws cases into FOLDER and scores them by `core.loss.orpo_terms` on a plain transformers model, in this process alone, since
an engine may rewrite transformers. With an engine it trains nothing but asks that engine's own trainer for loss and gradients of the same batches
with the same weights. A case is a random student, LoRA matrices that are both random, and a batch: several questions on a passage, answers of one
token, chosen and rejected that begin alike, padding of any width, rows that were cut at the end. Prints a line and, last, a line of JSON.
"""
import json
import random
import sys
import tempfile
from pathlib import Path

import torch
from orpo import collate

CASES, BETA, VOCAB = 24, 0.3, 259


def draw_rows(n: int) -> list[dict]:
    "Draw the pairs of a case, as ids."
    draw = random.Random(n)
    def text(low, high): return [draw.randrange(3, VOCAB) for _ in range(draw.randint(low, high))]
    rows = []
    for _ in range(draw.randint(1, 3)):
        passage = text(1, 60)
        for _ in range(draw.randint(1, 3)):
            prompt, same = passage + text(1, 20), text(0, 12)
            rows.append(dict(prompt=prompt, chosen=prompt + same + text(1, draw.choice((1, 30))), rejected=prompt + same + text(1, draw.choice((1, 30)))))
    if n % 4 == 3: # cut: every row keeps one token of its shorter answer at least
        length = min(len(row[side]) for row in rows for side in ("chosen", "rejected") if len(row[side]) > max(len(r["prompt"]) for r in rows))
        rows = [{side: ids[:length] for side, ids in row.items()} for row in rows if len(row["prompt"]) < length]
    return rows


def prepare(folder: Path, engine: str, n: int, nll_over: str):
    "Load the student of a case with its own LoRA weights, and a trainer."
    from distill.core.trainer import Settings, load_student, make_trainer
    settings = Settings("hf:student", engine=engine, beta=BETA, nll_over=nll_over, max_length=256)
    model, tokenizer = load_student(settings, folder/f"student{n % 3}")
    weights = {name.replace("._checkpoint_wrapped_module", ""): p for name, p in model.named_parameters() if "lora_" in name}
    made = torch.Generator().manual_seed(n)
    with torch.no_grad():
        for name in sorted(weights): weights[name].copy_(torch.randn(weights[name].shape, generator=made) / 8)
    row = dict(id="0", prompt="가\n", chosen="1나", rejected="2다") # a trainer wants one; the batches are made here
    return model, weights, make_trainer(model, tokenizer, [row], settings, Path(tempfile.mkdtemp()))


def slopes(loss, weights: dict) -> dict:
    names = sorted(weights)
    return dict(zip(names, (g.clone() for g in torch.autograd.grad(loss, [weights[name] for name in names]))))


def reference(folder: Path):
    "Draw the cases, and score them by the reference."
    from distill.core.hf import random_student
    from distill.core.loss import NLL_OVER, orpo_terms
    for seed in range(3): random_student(folder/f"student{seed}", ["가나다라마바사"], seed)
    for n in range(CASES):
        model, weights, trainer = prepare(folder, "trl", n, NLL_OVER[n % 2])
        loss = orpo_terms(model, collate(trainer, draw_rows(n)), BETA, NLL_OVER[n % 2])["loss"]
        torch.save(dict(loss=loss.detach(), slopes=slopes(loss, weights)), folder/f"truth{n}.pt")


def compare(folder: Path, engine: str) -> dict:
    "Ask an engine for the same; the largest relative errors over the cases."
    from distill.core.loss import NLL_OVER
    worst = dict(loss=0.0, gradients=0.0, n=0, pairs=0)
    for n in range(CASES):
        model, weights, trainer = prepare(folder, engine, n, NLL_OVER[n % 2])
        rows = draw_rows(n)
        loss, _ = trainer.get_batch_loss_metrics(model, collate(trainer, rows))
        truth, found = torch.load(folder/f"truth{n}.pt", weights_only=True), slopes(loss, weights)
        if found.keys() != truth["slopes"].keys(): raise ValueError(f"engine {engine} names its weights otherwise: {sorted(found)[0]}")
        apart = sum(((found[name] - g) ** 2).sum() for name, g in truth["slopes"].items()).sqrt() / sum((g ** 2).sum() for g in truth["slopes"].values()).sqrt()
        worst = dict(loss=max(worst["loss"], abs(loss.item() / truth["loss"].item() - 1)), gradients=max(worst["gradients"], apart.item()),
                     n=worst["n"] + 1, pairs=worst["pairs"] + len(rows))
    return worst


if __name__ == "__main__":
    place = Path(sys.argv[1])
    if len(sys.argv) == 2: reference(place)
    else: print(json.dumps(compare(place, sys.argv[2])))
