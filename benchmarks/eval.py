"""Likelihood mode against lm-evaluation-harness: same model, same items, one run: `python benchmarks/eval.py [rounds]`.

The model has random weights: what it prefers means nothing, and costs what it would cost otherwise. Qwen3's architecture, 4 layers, hidden 384,
6 heads, 3 for keys, feed-forward 1152, 7,680 tokens, tied; 10 M parameters, 32 bits, one thread. Its chat template ends in a colon:
lm-eval takes white space at the end of a prompt for the beginning of the answer, and the line break of ChatML would be part of what it weighs.

Items are those of data/items. For passages of a thousand tokens three of the bank's texts are joined, and four of their questions are asked.
Both are given the same pairs of prompt and answer: the number (`정답: 3`) or the text of every choice. lm-eval's `HFLM.loglikelihood` already computes
answers that differ in their last token only once, so with numbers what it repeats is the passage; it runs with the batch size, of those in
BATCHES, that is best for the case. Ours renders the chat template within its time, lm-eval is handed the strings.

Seconds are CPU seconds of this process, which has one thread. Contestants take turns; ratios with numbers are
medians over rounds, those with texts (far larger, and slow to measure) are of one round. Then the same items
go through `evaluate` and through lm-eval's own multiple_choice task (a local one, no network), and the accuracies are compared.
Prints a line a case and last one line of JSON; without lm-eval it says so and the ratios are missing.
"""
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from contextlib import redirect_stderr
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
warnings.filterwarnings("ignore")
VOCAB, BATCHES = 7680, (1, 4)
SHARED = "4 questions on 1000 tokens"


def make_model(folder: Path, texts: list[str], hidden: int = 384, layers: int = 4):
    "Save a Qwen3 of random weights whose tokenizer knows the texts, and load it as a profile would."
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    from distill.core.hf import CHATML, random_student
    from distill.core.models import load_model
    folder = random_student(Path(folder), texts, vocab=VOCAB)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = CHATML.replace("assistant\n", "assistant:")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    heads = max(2, hidden // 64)
    Qwen3ForCausalLM(Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads // 2,
        head_dim=64, intermediate_size=3 * hidden, max_position_embeddings=4096, initializer_range=.05, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=0)).save_pretrained(folder)
    return load_model(f"hf:{folder}")


def cases() -> dict[str, list]:
    "Make the cases: name → items."
    from distill.core.items import load_items
    korean, short = (load_items(f"data/items/{name}.jsonl")[0] for name in ("korean", "politics_law"))
    passages = list(dict.fromkeys(i.passage for i in korean))
    long = []
    for n in (0, 3): # three texts at a time
        joined, theirs = "\n\n".join(passages[n:n + 3]), [i for i in korean if i.passage in passages[n:n + 3]]
        long += [i.model_copy(update=dict(passage=joined, group=f"long {n}")) for i in theirs[:4]]
    return {SHARED: long, "2 or 3 questions on 300 tokens": korean[:8], "1 question on 150 tokens": short[:8]}


def requests_of(items: list, way) -> list:
    "List what is asked: one request a choice, as `evaluate` makes them."
    from distill.core.evaluate import WORDING
    from distill.core.models import Request
    from distill.core.prompts import load_prompt, render_item
    from distill.core.records import Message
    prompt = load_prompt("solve-short")
    def said(place, choice): return Message(role="assistant", content=WORDING[way.wording](place, choice))
    return [Request((*prompt.fill(item=render_item(i), n_choices=str(len(i.choices))), said(n, c)))
            for i in items for n, c in enumerate(i.choices, 1)]


def harness(model, batch: int):
    "Give lm-eval a model of its own with the same weights."
    import logging

    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM
    logging.disable(logging.WARNING)
    network = AutoModelForCausalLM.from_pretrained(model.path, dtype=torch.float32, use_safetensors=True).eval()
    return HFLM(pretrained=network, tokenizer=model.tokenizer, batch_size=batch, backend="causal", add_bos_token=False)


def ours(model, requests: list) -> list[float]:
    "Weigh requests our way: sums of log-probs."
    from distill.core.evaluate import Scorer
    replies = dict(Scorer(model).generate(requests))
    return [replies[n].logp * replies[n].tokens_out for n in range(len(requests))]


def theirs(lm, texts: list[tuple[str, str]]) -> list[float]:
    "Weigh the same pairs of texts with lm-eval."
    from lm_eval.api.instance import Instance
    instances = [Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=n) for n, pair in enumerate(texts)]
    with redirect_stderr(StringIO()): return [total for total, _ in lm.loglikelihood(instances, disable_tqdm=True)] # its other bar


def best(items: list, logps: list[float]) -> list[int]:
    "Say which choice of every item weighs most."
    found, at = [], 0
    for item in items:
        part, at = logps[at:at + len(item.choices)], at + len(item.choices)
        found.append(part.index(max(part)) + 1)
    return found


def compare(model, lms: dict, items: list, way, rounds: int) -> dict:
    "Time both on the same requests, turn by turn."
    requests, seconds, found = requests_of(items, way), {}, {}
    texts = [(model.prompt(r.messages[:-1]), r.messages[-1].content) for r in requests]
    turns = {"ours": lambda: ours(model, requests)} | {f"lm-eval, batch {b}": lambda lm=lm: theirs(lm, texts) for b, lm in lms.items()}
    for n in range(rounds):
        for name in list(turns)[::(-1) ** n]:
            start = time.process_time()
            found[name] = turns[name]()
            seconds.setdefault(name, []).append(time.process_time() - start)
    peers = [name for name in turns if name != "ours"]
    ratios = [min(seconds[p][n] for p in peers) / seconds["ours"][n] for n in range(rounds)] if peers else []
    same = [best(items, found[p]) == best(items, found["ours"]) for p in peers]
    apart = max((abs(a - b) for p in peers for a, b in zip(found["ours"], found[p])), default=None)
    return dict(requests=len(requests), ratio=round(statistics.median(ratios), 2) if peers else None, rounds=[round(r, 2) for r in ratios],
                same_predictions=all(same) if peers else None, logps_apart=apart and float(f"{apart:.0e}"), seconds={k: round(statistics.median(v), 2) for k, v in seconds.items()})


def cross_check(model, items: list, wording: str, folder: Path) -> dict:
    "Score items with `evaluate` and with lm-eval's multiple_choice task: by sums, and by character as its acc_norm does."
    from datasets import Dataset
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from distill.core.evaluate import WORDING, Way, evaluate
    from distill.core.ledger import Ledger
    from distill.core.prompts import load_prompt, render_item
    prompt = load_prompt("solve-short")
    docs = [dict(query=model.prompt(prompt.fill(item=render_item(i), n_choices=str(len(i.choices)))), gold=i.answer - 1,
                 choices=[WORDING[wording](n, c) for n, c in enumerate(i.choices, 1)]) for i in items]
    task = dict(task="items", output_type="multiple_choice", test_split="test", doc_to_text="query", doc_to_choice="choices", doc_to_target="gold",
                target_delimiter="", custom_dataset=lambda **_: {"test": Dataset.from_list(docs)},
                metric_list=[dict(metric=m, aggregation="mean", higher_is_better=True) for m in ("acc", "acc_norm")])
    with redirect_stderr(StringIO()): # its bars
        results = simple_evaluate(harness(model, 1), tasks=[task], task_manager=TaskManager(include_defaults=False), bootstrap_iters=0)
    samples, compared = sorted(results["samples"]["items"], key=lambda s: s["doc_id"]), {}
    for norm, metric in dict(raw="acc", character="acc_norm").items():
        with Ledger(Path(folder)/f"{wording}.sqlite") as ledger:
            found = evaluate(model, items, prompt, ledger, Way("likelihood", wording=wording, norm=norm))
        agree = sum(bool(s[metric]) == row["right"] for s, row in zip(samples, found.answers))
        compared[metric] = dict(items=len(items), agree=agree, ours=found.summary["accuracy"], theirs=results["results"]["items"][f"{metric},none"])
    return compared


def run(rounds: int = 3) -> dict:
    "Measure every case, and compare accuracies."
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1") # read when the libraries are imported
    import torch
    from transformers.utils.logging import disable_progress_bar

    from distill.core.evaluate import Way
    from distill.core.prompts import render_item
    disable_progress_bar()
    torch.set_num_threads(1)
    items, there = cases(), find_spec("lm_eval") is not None
    if not there: print("lm-evaluation-harness is not installed (pip install -e .[lm-eval]): nothing to compare with")
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(folder, [render_item(i) for part in items.values() for i in part] + ["정답: 1"])
        lms, results = {b: harness(model, b) for b in BATCHES} if there else {}, {}
        for wording in ("number", "text"):
            for name, part in items.items():
                found = results[f"{name}, {wording}"] = compare(model, lms, part, Way("likelihood", wording=wording), rounds if wording == "number" else 1)
                print(f"{name}, {wording}: {found}", flush=True)
        both = [item for name, part in items.items() if name != SHARED for item in part]
        for wording in ("number", "text") if there else ():
            found = results[f"multiple_choice, {wording}"] = cross_check(model, both, wording, Path(folder))
            print(f"multiple_choice, {wording}: {found}", flush=True)
    return results


if __name__ == "__main__": print(json.dumps(run(*map(int, sys.argv[1:2])), ensure_ascii=False))
