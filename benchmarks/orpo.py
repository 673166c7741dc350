"""A whole training step of ORPO, flat (TRL's own trainer) against the tree, same model, same pairs, one run: `python benchmarks/orpo.py [rounds]`.

The model is the lab's student, three times as wide (4 layers, hidden 384, 6 heads, 3 for keys, feed-forward 1152, 7,680 tokens, tied; 10 M
parameters), LoRA of rank 16 on its seven linear layers, 32 bits, one thread: multiplications dominate, and the head has the share of the work
that it has in the student and in Qwen3-0.6B (about a quarter). A step is what TRL does: forward, backward, clipping, AdamW.

TRL 1.15 offers its ORPO trainer no fused loss, no padding-free batches and no packing. What it offers: SDPA (on, for both), bf16 (off for both:
slower on a CPU), gradient checkpointing (time without it, its faster setting; memory with and without, on the passage) and gradient accumulation. So there are
two ratios: the same batch for both, and the best of each, where either may take the batch apart (`by_pair`: one pair a forward pass, without
padding between pairs; `by_tree`: one passage a forward pass). Each contestant trains in a process of its own, as it would outside a benchmark:
in one process each finds the freed blocks that the others left, and TRL by pairs then took 2.8 or 3.2 s, depending on who had been before.
Seconds are CPU seconds of such a process, which has one thread: about what a free core would take, whatever else the machine does. The processes
take turns, one step each, forwards and backwards, and the first round is not counted; ratios are medians over rounds. Memory is the peak of a process of its
own above what it held before its step, both with the whole batch; TRL's by_pair is given beside it. That process returns every block of 64 KB or
more as soon as it is freed: glibc's own habit is to keep some for later, how many depends on the order of sizes, and the ratio of the same two
steps then lay anywhere between .56 and .81. So it counts what a step holds, not what the allocator has not given back, for both alike.
Prints a line a case and last one line of JSON.
"""
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from unittest.mock import patch

os.environ.update(OMP_NUM_THREADS="1", TRL_EXPERIMENTAL_SILENCE="1", TOKENIZERS_PARALLELISM="false")
warnings.filterwarnings("ignore")
VOCAB = 7680
ALLOCATOR = dict(MALLOC_MMAP_THRESHOLD_="65536", MALLOC_TRIM_THRESHOLD_="65536", MALLOC_ARENA_MAX="1") # glibc reads it when a process starts
CASES = { # passage, question, answer (from, to), questions on a passage, passages
    "512/256": (512, 0, (256, 256), 1, 2),
    "1024/256": (1024, 0, (256, 256), 1, 1),
    "4 questions on 1000": (1000, 100, (150, 250), 4, 1)}
GROWTH = {f"4 questions on {n}": (n, 100, (150, 250), 4, 1) for n in (250, 500)}


def make_rows(passage: int, question: int, answer: tuple[int, int], questions: int, passages: int, seed: int = 0) -> list[dict]:
    "Draw pairs of random tokens with the wanted lengths."
    draw = random.Random(seed)
    def text(n): return [draw.randrange(3, VOCAB) for _ in range(n)]
    rows = []
    for _ in range(passages):
        shared = text(passage)
        for _ in range(questions):
            prompt = shared + text(question)
            rows.append(dict(prompt=prompt, chosen=prompt + text(draw.randint(*answer)), rejected=prompt + text(draw.randint(*answer))))
    return rows


def make_trainer(folder: Path, engine: str, checkpointing: bool = False):
    "TRL's trainer, or the same one with its forward pass along the tree."
    import torch
    from datasets import Dataset, disable_progress_bars
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM
    from trl.experimental.orpo import ORPOTrainer

    from distill.core.trainer import LAYERS, Settings, trainer_class, training_args
    from distill.core.tree import use_tree
    disable_progress_bars()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(Qwen3Config(
        vocab_size=VOCAB, hidden_size=384, num_hidden_layers=4, num_attention_heads=6, num_key_value_heads=3, head_dim=64, intermediate_size=1152,
        max_position_embeddings=4096, tie_word_embeddings=True, attention_dropout=0., bos_token_id=None, eos_token_id=2, pad_token_id=0))
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=list(LAYERS), task_type="CAUSAL_LM"))
    if engine == "tree": use_tree(model)
    settings = Settings("lab:student", max_length=4096, learning_rate=1e-4)
    args, kind = training_args(settings, folder), trainer_class(settings) if engine == "tree" else ORPOTrainer
    args.gradient_checkpointing = checkpointing
    data = Dataset.from_list([dict(prompt="가", chosen="나", rejected="다")]) # a trainer wants one; the batches are made here
    trainer = kind(model, args, train_dataset=data, processing_class=AutoTokenizer.from_pretrained(folder))
    trainer.create_optimizer_and_scheduler(100)
    if checkpointing: trainer.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=dict(use_reentrant=False))
    return trainer


def collate(trainer, rows: list[dict]) -> dict:
    "Let TRL's collator make the batch."
    labelled = []
    for row in rows:
        n, found = len(row["prompt"]), {}
        for side in ("chosen", "rejected"):
            ids = row[side]
            found |= {f"{side}_input_ids": ids, f"{side}_attention_mask": [1] * len(ids), f"{side}_labels": [-100] * n + ids[n:]}
        labelled.append(found | dict(prompt_input_ids=row["prompt"], prompt_attention_mask=[1] * n))
    return trainer.data_collator(labelled)


def step(trainer, batches: list[dict]) -> tuple[float, float]:
    "Make one training step of one forward pass a batch: its loss, and its CPU seconds."
    start, trainer.current_gradient_accumulation_steps = time.process_time(), len(batches)
    loss = sum(trainer.training_step(trainer.model, batch).item() for batch in batches)
    trainer.accelerator.clip_grad_norm_(trainer.model.parameters(), trainer.args.max_grad_norm)
    trainer.optimizer.step()
    trainer.model.zero_grad()
    return loss, time.process_time() - start


def held(field: str) -> int:
    "Read a line of this process's memory, in MB."
    return int(next(line for line in open("/proc/self/status", encoding="ascii") if line.startswith(field)).split()[1]) // 1024


def peak(folder: Path, engine: str, checkpointing: bool, case: tuple, n_pairs: int | None, answer):
    "Put the peak of a step, in MB above what the process held before, into a queue."
    trainer = make_trainer(folder, engine, checkpointing)
    step(trainer, [collate(trainer, make_rows(32, 0, (8, 8), 1, 1))]) # buffers and optimizer state
    Path("/proc/self/clear_refs").write_text("5") # the peak starts anew
    batch, before = collate(trainer, make_rows(*case)[:n_pairs]), held("VmRSS")
    step(trainer, [batch])
    answer.put(held("VmHWM") - before)


def memory(folder: Path, *what) -> int:
    "Run a step in a process of its own, under the same allocator's habits for everyone, and return its peak in MB."
    context = multiprocessing.get_context("spawn") # a fork would keep the parent's habits, and its buffers
    answer = context.Queue()
    process = context.Process(target=peak, args=(folder, *what, answer))
    with patch.dict(os.environ, ALLOCATOR): process.start() # for this process alone: the same habits make steps that are timed up to 1.6 times as slow
    mb = answer.get(timeout=200)
    process.join()
    return mb


def contest(folder: Path, engine: str, case: tuple, n_pairs: int, pipe):
    "Make a step of `n_pairs` pairs a forward pass whenever asked to, and send its loss and its CPU seconds."
    trainer, rows = make_trainer(folder, engine), make_rows(*case)
    batches = [collate(trainer, rows[n:n + n_pairs]) for n in range(0, len(rows), n_pairs)]
    while pipe.recv(): pipe.send(step(trainer, batches))


def compare(folder: Path, case: tuple, rounds: int) -> dict:
    "Time all on the same pairs, each in a process of its own, turn by turn."
    from distill.core.tree import token_ratio
    rows, context = make_rows(*case), multiprocessing.get_context("spawn")
    wanted = dict(trl=("trl", len(rows)), tree=("tree", len(rows)))
    if len(rows) > 1: wanted["by_pair"] = "trl", 1
    if case[4] > 1: wanted["by_tree"] = "tree", case[3]
    turns, seconds, losses = {}, {name: [] for name in wanted}, {}
    for name, (engine, n_pairs) in wanted.items():
        turns[name], end = context.Pipe()
        context.Process(target=contest, args=(folder, engine, case, n_pairs, end), daemon=True).start()
        end.close() # or a dead process would be waited for
    for n in range(1 + rounds): # the first round makes buffers and optimizer states
        for name in list(turns)[::(-1) ** n]:
            turns[name].send(True)
            loss, took = turns[name].recv()
            losses.setdefault(name, loss)
            if n: seconds[name].append(took)
    for pipe in turns.values(): pipe.send(False)
    def ratios(flat, tree): return [min(seconds[f][n] for f in flat) / min(seconds[t][n] for t in tree) for n in range(rounds)]
    same = ratios(["trl"], ["tree"])
    best = ratios(seconds.keys() & {"trl", "by_pair"}, seconds.keys() & {"tree", "by_tree"})
    first, second = losses["trl"], losses["tree"] # of the first step: later both adapters have gone their own ways
    return dict(ratio=round(statistics.median(same), 2), rounds=[round(r, 2) for r in same], best=round(statistics.median(best), 2),
                tokens=round(token_ratio(rows), 2), losses_apart=float(f"{abs(first - second) / first:.0e}"),
                seconds={name: round(statistics.median(s), 2) for name, s in seconds.items()})


def draw(results: dict, file: Path):
    "Draw how the ratio grows with the passage."
    import matplotlib.pyplot as plt

    from distill.core.plots import COLORS, setup
    setup()
    lengths = sorted((case[0], name) for name, case in (CASES | GROWTH).items() if case[3] == 4)
    fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for key, label, color, style in (("tokens", "tokens: flat / tree", "base", ":"), ("best", "time: best of each", "tuned", "-"), ("ratio", "time: same batch", "teacher", "--")):
        ax.plot([n for n, _ in lengths], [results[name][key] for _, name in lengths], style, marker="o", color=COLORS[color], label=label)
    ax.axhline(1, color="0.7", linewidth=1)
    ax.set(xlabel="tokens of the passage that four questions share", ylabel="TRL / tree", ylim=(0, None),
           title=f"The longer the shared passage, the more the tree saves: {results[lengths[-1][1]]['best']:.1f}× at {lengths[-1][0]:,} tokens")
    ax.legend(frameon=False)
    fig.savefig(file, dpi=150)
    plt.close(fig)


def run(rounds: int = 2) -> dict:
    "Measure every case."
    from transformers.utils.logging import disable_progress_bar

    from distill.core.hf import random_student
    disable_progress_bar()
    results = {name: {} for name in CASES | GROWTH}
    with tempfile.TemporaryDirectory() as folder:
        folder = random_student(Path(folder), ["가나다"]) # for its tokenizer
        for name, case in CASES.items():
            shared = case[3] > 1
            for key, checkpointing in dict(memory=False, memory_checkpointing=True).items():
                if checkpointing and not shared: continue
                mb = {engine: memory(folder, engine, checkpointing, case, None) for engine in ("trl", "tree")}
                results[name][key] = mb | dict(ratio=round(mb["tree"] / mb["trl"], 2))
            if shared: results[name]["memory"]["by_pair"] = memory(folder, "trl", False, case, 1)
            print(f"{name:22} peaks in MB {results[name]}", flush=True)
        for name, case in (CASES | GROWTH).items():
            found = compare(folder, case, rounds if name in CASES else 1)
            results[name] |= found
            print(f"{name:22} {found['ratio']:.2f} × same batch, {found['best']:.2f} × best of each (tokens {found['tokens']:.2f} ×; "
                  f"rounds {found['rounds']}; CPU s {found['seconds']}; losses apart {found['losses_apart']})", flush=True)
    return results


if __name__ == "__main__": print(json.dumps(run(*map(int, sys.argv[1:2])), ensure_ascii=False))
