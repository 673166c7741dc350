"""Reproduce every figure of the lab: `make evidence NAME=lab` (about 25 minutes on 2 cores), or some points: `… evidence_lab.py 2 3`.

Prints a line a point with its figure and goal, and last one line of JSON. Nothing is asserted that was not run.
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
STAGES = ("00_seed", "01_hard_negatives", "02_blueprint", "03_preference", "04_orpo", "05_eda")
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def distill(*words: str, root: Path = ROOT, wait: bool = True):
    "Run the command line on a checkout's data."
    command = [sys.executable, "-m", "distill.cli", *map(str, words)]
    env = {**ENV, "DISTILL_ROOT": str(root)} if root != ROOT else ENV
    process = subprocess.Popen(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    if not wait: return process
    out, _ = process.communicate()
    return process.returncode, out


def summary(run: str) -> dict: return json.loads((ROOT/"reports"/run/"summary.json").read_text(encoding="utf-8"))
def stage(run: str, name: str) -> Path: return ROOT/"data"/"runs"/run/name
def say(text: str): print(text, flush=True)


def forget(*runs: str):
    "Delete runs, so that what follows is really run."
    for run in runs:
        for folder in (ROOT/"data"/"runs"/run, ROOT/"reports"/run): shutil.rmtree(folder, ignore_errors=True)
        for file in (ROOT/"data"/"runs").glob(f"{run}.sqlite*"): file.unlink()


def point_1():
    "A clean clone: `make run`, then `make test`."
    with tempfile.TemporaryDirectory() as tmp:
        clone = Path(tmp)/"distill"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        env = {k: v for k, v in ENV.items() if k not in ("VIRTUAL_ENV", "OMP_NUM_THREADS", "PYTHONWARNINGS")}
        took = {}
        for target in ("run", "test"):
            start = time.time()
            done = subprocess.run(["make", target], cwd=clone, env=env, text=True, capture_output=True)
            took[target] = time.time() - start
            if done.returncode: return f"make {target} failed: {done.stdout[-300:]} {done.stderr[-300:]}", False
        manifest = json.loads((clone/"reports"/"lab"/"manifest.json").read_text(encoding="utf-8"))
        wall, peak = json.loads((clone/"reports"/"lab"/"summary.json").read_text(encoding="utf-8"))["wall_s"], manifest["peak_rss_gb"]
    figure = f"pipeline {wall:.0f} s, peak {peak:.1f} GB; make run {took['run']:.0f} s with the install, make test {took['test']:.0f} s"
    return figure, wall <= 360 and peak <= 4 and took["test"] <= 900


def point_2():
    "Three seeds: gains on seen and new domains, no loss without a trap, none on the control."
    ok, lines = True, []
    for seed in range(3):
        run = f"evidence-seed{seed}"
        forget(run)
        code, out = distill("run", "lab", "--run", run, "--set", f"seed={seed}")
        if code: return f"seed {seed}: {out[-300:]}", False
        s = summary(run)
        part = lambda k: f"{100*s[k]['diff']:+.1f} (n={s[k]['n']}, {100*s[k]['baseline']:.1f}→{100*s[k]['tuned']:.1f}, p={s[k]['p']:.1e})"
        lines.append(f"seed {seed}: seen {part('seen')}; new domains {part('held_out_domains')}; no trap {part('no_trap')}; control {part('control')}")
        say("   " + lines[-1])
        ok &= all(s[k]["diff"] >= .20 and s[k]["p"] < .001 for k in ("seen", "held_out_domains"))
        ok &= s["seen"]["n"] + s["held_out_domains"]["n"] + s["control"]["n"] >= 400
        ok &= s["no_trap"]["diff"] >= -.03 and not (s["control"]["diff"] < 0 and s["control"]["p"] < .05)
    return " | ".join(lines), bool(ok)


def point_3():
    "The same profile and seed twice, each with an empty ledger; then once more with nothing to do."
    runs = ("evidence-a", "evidence-b")
    forget(*runs)
    for run in runs:
        code, out = distill("run", "lab", "--run", run, "--set", f"ledger=data/runs/{run}.sqlite")
        if code: return out[-300:], False
    pairs = [list(pd.read_parquet(stage(run, "03_preference")/"pairs.parquet").id) for run in runs]
    tables = [summary(run)["subjects"] for run in runs]
    before = {p: p.stat().st_mtime_ns for p in sorted(stage(runs[0], "").rglob("*")) if p.is_file()}
    start = time.time()
    code, out = distill("run", "lab", "--run", runs[0], "--set", f"ledger=data/runs/{runs[0]}.sqlite")
    again = time.time() - start
    touched = [p.name for p, at in before.items() if p.stat().st_mtime_ns != at]
    figure = f"{len(pairs[0])} pairs {'equal' if pairs[0] == pairs[1] else 'DIFFER'}, subject tables {'equal' if tables[0] == tables[1] else 'DIFFER'}; unchanged rerun {again:.1f} s, {len(touched)} files rewritten"
    return figure, code == 0 and pairs[0] == pairs[1] and tables[0] == tables[1] and again <= 10 and not touched


def point_4():
    "kill -9 at a random moment of each stage; a counting simulated model tells whether a call was made twice."
    rng, run, calls = random.Random(0), "evidence-kill", ROOT/"data"/"runs"/"evidence-kill.calls"
    forget(run); calls.unlink(missing_ok=True)
    items = "data/items/sample.csv"
    words = ["run", "sim", "--run", run, "--set", f"items={items}", "--set", f"ledger=data/runs/{run}.sqlite"]
    for role, accuracy in (("teacher", .95), ("student", .4)):
        words += ["--set", f"{role}=sim:{role}?accuracy={accuracy}&items={items}&latency=0.01&calls={calls}"]
    words += ["--to", "03"]
    killed = []
    for name in STAGES[:4]:
        process = distill(*words, wait=False)
        next((line for line in process.stdout if line.split()[:2] == [name, "running"]), None) # until the stage is at work
        time.sleep(rng.uniform(0, 3))
        if process.poll() is None: killed.append(name)
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
        process.wait()
    code, out = distill(*words)
    if code: return out[-300:], False
    made = calls.read_text(encoding="utf-8").split()
    twice = len(made) - len(set(made))
    tables = {p.stem: pd.read_parquet(p).id for p in stage(run, "").rglob("*.parquet") if "id" in pd.read_parquet(p).columns}
    doubled = [name for name, ids in tables.items() if ids.duplicated().any()]
    kills, lab_ok = _kill_lab(rng)
    return f"killed in {len(killed)} + {kills} stages, finished each time; {len(made)} calls counted, {twice} made twice; tables with doubled rows: {len(doubled)}", code == 0 and len(killed) == 4 and not twice and not doubled and lab_ok


def _kill_lab(rng) -> tuple[int, bool]:
    "Kill the lab's own tiny run in every stage, then compare it with one that was left alone."
    forget("evidence-whole", "evidence-cut")
    whole = ["run", "tiny", "--run", "evidence-whole", "--set", "ledger=data/runs/evidence-whole.sqlite"]
    cut = [w.replace("evidence-whole", "evidence-cut") for w in whole]
    start = time.time()
    if distill(*whole)[0]: return 0, False
    pause, kills = (time.time() - start)/len(STAGES), 0
    for _ in STAGES:
        process = distill(*cut, wait=False)
        time.sleep(pause * rng.uniform(.5, 1.3))
        if process.poll() is None: os.killpg(process.pid, signal.SIGKILL); kills += 1
        process.wait()
    code, _ = distill(*cut)
    same = [pd.read_parquet(stage(r, "03_preference")/"pairs.parquet").id.tolist() for r in ("evidence-whole", "evidence-cut")]
    return kills, code == 0 and same[0] == same[1] and summary("evidence-whole")["total"] == summary("evidence-cut")["total"]


def point_5():
    "A case card for each of the seed document's two cases, in the page."
    run = "evidence-seed0"
    if not (ROOT/"reports"/run/"index.html").exists(): distill("run", "lab", "--run", run, "--set", "seed=0")
    cases = json.loads((stage(run, "05_eda")/"cases.json").read_text(encoding="utf-8"))
    frames = [c["frame"] for c in cases]
    page = (ROOT/"reports"/run/"index.html").read_text(encoding="utf-8")
    wanted = {"case 1": "실제 목적 → 그 목적에 맞는 수단", "case 2": "대중적 키워드 < 글에 명시된 우선순위"}
    shown = {k: frame in frames and frame.replace("<", "&lt;") in page for k, frame in wanted.items()}
    return f"{len(cases)} cards; " + ", ".join(f"{k} {'shown' if v else 'MISSING'}" for k, v in shown.items()), all(shown.values())


def point_6():
    "Every stage by bare papermill, and in a Jupyter kernel from its own folder."
    results = {}
    with tempfile.TemporaryDirectory() as tmp:
        for name in STAGES:
            bare = subprocess.run([sys.executable, "-m", "papermill", f"nbs/{name}.ipynb", f"{tmp}/{name}.ipynb", "-p", "run", "tiny", "--no-progress-bar"], cwd=ROOT, env=ENV, capture_output=True)
            opened = subprocess.run([sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", f"{name}.ipynb", "--output-dir", tmp, "--output", f"j{name}"], cwd=ROOT/"nbs", env=ENV, capture_output=True)
            results[name] = bare.returncode == 0 and opened.returncode == 0
    bad = [k for k, v in results.items() if not v]
    return f"{sum(results.values())} of {len(STAGES)} notebooks run both ways" + (f", not {bad}" if bad else ""), not bad


def point_7():
    "Bad input: one sentence, exit code not 0, nothing half-written."
    said = {}
    def tried(name, *words, root=ROOT):
        code, out = distill(*words, root=root)
        said[name] = (code, [line for line in out.strip().splitlines() if line.strip()][-1:] or [""])
        return code != 0 and "Traceback" not in out
    forget("evidence-bad")
    good = [tried("wrong profile", "run", "lap"), tried("unknown parameter", "run", "tiny", "--set", "n_sample=3"),
            tried("missing artefact", "run", "tiny", "--run", "evidence-bad", "--from", "02")]
    distill("run", "tiny", "--run", "evidence-bad", "--to", "01")
    table = stage("evidence-bad", "01_hard_negatives")/"hard_negatives.parquet"
    table.write_bytes(table.read_bytes()[:100])
    good.append(tried("damaged artefact", "run", "tiny", "--run", "evidence-bad", "--from", "02", "--to", "02"))
    with tempfile.TemporaryDirectory() as tmp:
        for part in ("nbs", "data", "distill", "settings.ini", "pyproject.toml", "constraints.txt"):
            source = ROOT/part
            shutil.copytree(source, Path(tmp)/part, ignore=shutil.ignore_patterns("runs")) if source.is_dir() else shutil.copy(source, tmp)
        weights = Path(tmp)/"data"/"lab"/"student"/"model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-4] + b"oops")
        good.append(tried("wrong checksum", "run", "tiny", "--run", "evidence-bad", root=Path(tmp)))
        left = [p for p in (Path(tmp)/"data"/"runs").rglob("*") if p.is_file() and p.name.startswith(".") and "lock" not in p.name]
        shutil.rmtree(Path(tmp)/"reports", ignore_errors=True)
        (Path(tmp)/"reports").write_text("a file where the folder should be")
        good.append(tried("folder that cannot be written", "run", "tiny", "--run", "evidence-bad2", root=Path(tmp)))
    for name, (code, line) in said.items(): say(f"   {name}: exit {code}: {line[0][:200]}")
    forget("evidence-bad")
    return f"{sum(good)} of {len(good)} refused with a sentence, {len(left)} files half-written", all(good) and not left


def point_8():
    "A competition-format CSV through all six stages: simulated models for 00-03, a small random Qwen3 as student for 04-05."
    run, items = "evidence-csv", "data/items/sample.csv"
    forget(run)
    words = ["run", "sim", "--run", run, "--set", f"items={items}"]
    code, out = distill(*words, "--to", "03")
    if code: return out[-400:], False
    from distill.core.hf import random_student
    student = random_student(stage(run, "random-student"), (ROOT/items).read_text(encoding="utf-8").splitlines())
    code, out = distill(*words, "--from", "04", "--set", f"student=hf:{student.relative_to(ROOT)}", "--set", "max_tokens=48", "--set", "max_length=4096")
    if code: return out[-400:], False
    s = summary(run)
    card = (stage(run, "03_preference")/"README.md").exists()
    funnel = " → ".join(f"{v} {k}" for k, v in s["funnel"].items())
    adapter = (stage(run, "04_orpo")/"adapter"/"adapter_model.safetensors").exists()
    return f"{funnel}; card {'written' if card else 'MISSING'}; adapter {'trained' if adapter else 'MISSING'}; evaluated n={s['total']['n']}", s["funnel"]["pairs"] > 0 and card and adapter


GOALS = {
    "1": "pipeline ≤ 360 s, peak ≤ 4 GB, make test ≤ 900 s", "2": "≥ +20 points on seen and on new domains (p < .001), no trap ≥ −3, control not significantly down, 3 seeds",
    "3": "identical pairs and table; unchanged rerun ≤ 10 s, nothing recomputed", "4": "finishes; no row lost or doubled; no call made twice",
    "5": "a card of each of the seed's two cases", "6": "all six notebooks", "7": "all refused with one sentence, nothing half-written", "8": "a CSV of ≥ 40 items through all six stages"}

if __name__ == "__main__": run_points({n: globals()[f"point_{n}"] for n in GOALS}, GOALS, sys.argv[1:])
