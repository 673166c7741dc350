"""Reproduce every figure of the training: `make evidence NAME=orpo` (about 45 minutes on 2 cores), or some points: `… evidence_orpo.py 1 4`.

Prints a line a point with its figure and goal, and last one line of JSON. Nothing is asserted that was not run. Point 2 also draws
benchmarks/orpo.png. Unsloth is measured where it is installed; DISTILL_UNSLOTH names an interpreter that has it, if this one has not.
"""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from points import run_points

ROOT = Path(__file__).resolve().parents[1]
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT)}
SEEDS = (0, 1, 2)


def say(text: str): print(text, flush=True)
def stage(run: str, name: str) -> Path: return ROOT/"data"/"runs"/run/name


def python(*words, interpreter: str = sys.executable) -> tuple[int, str]:
    "Run a Python command; its output, or the end of its complaint."
    done = subprocess.run([interpreter, *map(str, words)], cwd=ROOT, env=ENV, text=True, capture_output=True)
    return done.returncode, done.stdout if not done.returncode else done.stderr[-400:]


def point_1():
    "Every engine's loss and gradients against the reference."
    interpreters = dict(trl=sys.executable, tree=sys.executable, unsloth=os.environ.get("DISTILL_UNSLOTH", sys.executable))
    figures, ok = [], True
    with tempfile.TemporaryDirectory() as folder:
        code, out = python(ROOT/"benchmarks"/"parity.py", folder)
        if code: return out, False
        for engine, interpreter in interpreters.items():
            if engine == "unsloth" and python("-c", "import importlib.metadata as m; m.version('unsloth')", interpreter=interpreter)[0]:
                figures.append("unsloth is not installed here, so it was not run")
                continue
            code, out = python(ROOT/"benchmarks"/"parity.py", folder, engine, interpreter=interpreter)
            if code: return f"{engine}: {out}", False
            found = json.loads(out.splitlines()[-1])
            figures.append(f"{engine}: loss {found['loss']:.0e}, gradients {found['gradients']:.0e}")
            ok = ok and max(found["loss"], found["gradients"]) <= 1e-5
    return f"largest relative error over {found['n']} cases ({found['pairs']} pairs): " + "; ".join(figures), ok


def point_2():
    "The whole training step, tree against TRL; draws how the ratio grows with the passage."
    from orpo import draw, run
    found = run(7)
    draw(found, ROOT/"benchmarks"/"orpo.png")
    goals = {"512/256": 1.6, "1024/256": 1.9, "4 questions on 1000": 2.5}
    figures = [f"{name}: {found[name]['best']:.2f}× best of each, {found[name]['ratio']:.2f}× same batch (tokens {found[name]['tokens']:.2f}×), "
               f"memory {found[name]['memory']['ratio']:.2f}×" for name in goals]
    return "; ".join(figures), all(found[name]["best"] >= goal and found[name]["memory"]["ratio"] <= .6 for name, goal in goals.items())


def run_lab(run: str, *words: str) -> str:
    "Run the lab; '' or what went wrong."
    code, out = python("-m", "distill.cli", "run", "lab", "--run", run, *words)
    return out if code else ""


def answers(run: str) -> pd.Series:
    "Which held-out items the tuned student of a run got right, in their order."
    keys = pd.read_parquet(stage(run, "00_seed")/"eval.parquet").set_index("id").answer
    given = pd.read_parquet(stage(run, "05_eda")/"tuned.parquet")
    return (given.answer.to_numpy() == keys.loc[given.item_id]).reset_index(drop=True)


def point_3():
    "The lab with both engines, on the same pairs."
    from distill.core.stats import mcnemar_exact
    lines, ok, seconds = [], True, dict(tree=0.0, trl=0.0)
    for seed in SEEDS:
        runs = {engine: f"evidence-orpo-{engine}{seed}" for engine in seconds}
        for run in runs.values():
            for folder in (ROOT/"data"/"runs"/run, ROOT/"reports"/run): shutil.rmtree(folder, ignore_errors=True)
        if fault := run_lab(runs["tree"], "--to", "03", "--set", f"seed={seed}"): return fault, False
        for part in ("data/runs", "reports"): shutil.copytree(ROOT/part/runs["tree"], ROOT/part/runs["trl"])
        for engine, run in runs.items():
            if fault := run_lab(run, "--from", "04", "--set", f"seed={seed}", "--set", f"engine={engine}"): return fault, False
        train = {engine: json.loads((stage(run, "04_orpo")/"train.json").read_text(encoding="utf-8")) for engine, run in runs.items()}
        right = {engine: answers(run) for engine, run in runs.items()}
        won, lost = (int((right[a] & ~right[b]).sum()) for a, b in (("tree", "trl"), ("trl", "tree")))
        p = mcnemar_exact(won, lost)
        for engine in seconds: seconds[engine] += train[engine]["cpu_seconds"]
        lines.append(f"seed {seed}: tree {right['tree'].mean():.1%}, trl {right['trl'].mean():.1%} ({won + lost} of {len(right['tree'])} items differ, "
                     f"p = {p:.2g}), {train['tree']['cpu_seconds']:.0f} against {train['trl']['cpu_seconds']:.0f} CPU s")
        say("   " + lines[-1])
        ok = ok and p > .05
    ratio = seconds["trl"] / seconds["tree"]
    return "; ".join(lines) + f"; training {ratio:.2f}× as fast", ok and ratio > 1


def kill_and_go_on(job: Path, after: int, draw: random.Random) -> bool:
    "Start a job, kill it at a random moment after its next checkpoint; whether it was still at work."
    process = subprocess.Popen([sys.executable, "-m", "distill.core.trainer", job], cwd=ROOT, env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    def made(): return max((int(path.name.rpartition("-")[2]) for path in job.glob("checkpoints/checkpoint-*")), default=0)
    while made() <= after and process.poll() is None: time.sleep(.02)
    time.sleep(draw.uniform(0, 1.5))
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def point_4():
    "A job of the lab's pairs, killed five times, against the same job left alone."
    from distill.core.files import file_hash, read_json
    from distill.core.records import Pair, read_table
    from distill.core.trainer import Settings, write_job
    from distill.lab.student import verified_path
    from distill.orpo import chat_rows, watch_split
    from transformers import AutoTokenizer
    run = "evidence-orpo-tree0"
    if not (stage(run, "03_preference")/"pairs.parquet").exists() and (fault := run_lab(run, "--to", "03", "--set", "seed=0")): return fault, False
    base = verified_path()
    parts = watch_split(read_table(stage(run, "03_preference")/"pairs.parquet", Pair), .1)
    rows, watched = (chat_rows(part, AutoTokenizer.from_pretrained(base)) for part in parts)
    settings, draw, n_killed, seen = Settings("lab:student", learning_rate=2e-3, beta=.05, nll_over="chosen"), random.Random(0), 0, []
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = (write_job(Path(folder)/name, settings, base, rows, watched, checkpoint_steps=2) for name in ("whole", "killed"))
        if python("-m", "distill.core.trainer", whole)[0]: return "the job that was left alone failed", False
        for _ in range(5):
            seen.append(max((int(path.name.rpartition("-")[2]) for path in killed.glob("checkpoints/checkpoint-*")), default=0))
            n_killed += kill_and_go_on(killed, seen[-1] + 8, draw)
        code, out = python("-m", "distill.core.trainer", killed)
        if code: return out, False
        same = file_hash(whole/"adapter") == file_hash(killed/"adapter")
        a, b = (read_json(job/"result.json") for job in (whole, killed))
    return (f"{len(rows)} pairs, {len(a['curve'])} steps, killed {n_killed} times (it went on at steps {', '.join(map(str, seen[1:]))}, …): "
            f"adapter {'equal byte for byte' if same else 'DIFFERS'}, curves {'equal' if a['curve'] == b['curve'] else 'DIFFER'}"), same and n_killed == 5


def point_5():
    "The tests with two processes."
    code, out = python("-m", "pytest", "-q", "tests/test_core_trainer.py", "-k", "two_processes")
    return out.strip().splitlines()[-1] if out.strip() else "no output", code == 0


GOALS = {"1": "relative error ≤ 1e-5 in float32 for loss and gradients, every engine", "2": "≥ 1.6× at 512/256, ≥ 1.9× at 1024/256, ≥ 2.5× on passages; memory ≤ 0.6×",
         "3": "the same accuracy (McNemar p > .05 at every seed), faster", "4": "equal final adapter", "5": "green"}

if __name__ == "__main__":
    run_points({"1": point_1, "2": point_2, "3": point_3, "4": point_4, "5": point_5}, GOALS, sys.argv[1:])
