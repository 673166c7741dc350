"""Measure how extraction, gates and cards grow: `python benchmarks/blueprint_scale.py [1000 3000 10000]`, n variants of the lab each.

The lab's oracle is the teacher; what it takes to answer is not counted. Each size runs in a process of its own, so that the peak memory
is its own. Prints a line a size and last one line of JSON.
"""
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PER_SEED = 8


def hard_negatives(n: int) -> list:
    "Items of the lab with both paths, as a teacher and a student would write them."
    from distill.core.examples import hard_negative
    from distill.lab.world import make_items
    rows = [(item, truth) for item, truth in make_items("pool", 4 * n + 50) if truth.failed and truth.lure_answer not in (None, item.answer)]
    return [hard_negative(item, truth.golden, truth.failed, truth.lure_answer) for item, truth in rows[:n]]


def measure(n: int) -> dict:
    "Time every step for n variants."
    from distill.blueprint import ALL, decide, extract, load_domains, make_blueprints, plan_targets, transfer
    from distill.core.cases import case_card, make_case
    from distill.core.files import ROOT
    from distill.core.gates import make_context
    from distill.core.ledger import Ledger
    from distill.core.models import load_model
    from distill.core.prompts import load_prompt
    from distill.lab.world import make_items
    from distill.preference import make_pair
    took, start = {}, time.time()

    def lap(name):
        nonlocal start
        took[name], start = took.get(name, 0) + time.time() - start, time.time()

    negatives, oracle = hard_negatives(-(-n // PER_SEED)), load_model("lab:oracle")
    evals, seeds = [item for item, _ in make_items("eval", 600)], {m.item.id: m.item for m in negatives}
    pool, places = list(seeds.values()), load_domains(ROOT/"data"/"domains.json")
    lap("making")
    context = make_context(pool, pool, evals, leak_line=.7)
    lap("context")
    with tempfile.TemporaryDirectory() as tmp, Ledger(Path(tmp)/"ledger.sqlite") as book:
        extract(oracle, negatives, load_prompt("extract"), context, book)
        lap("asking")
        found, failures = extract(oracle, negatives, load_prompt("extract"), context, book) # every reply is in the ledger now
        lap("extraction")
        plan = plan_targets([(m.item, found[m.id].frame) for m in negatives if m.id in found], places, PER_SEED, .3)
        plans = make_blueprints(negatives, found, dict(zip(found, plan)), 1)[:n]
        by_plan = {p.id: p for p in plans}
        lap("making")
        transfer(oracle, plans, seeds, load_prompt("transfer"), book)
        lap("asking")
        variants, lost = transfer(oracle, plans, seeds, load_prompt("transfer"), book)
        lap("transfer")
    full = make_context(pool, pool, evals, variants, {v.item.id: (v.item.answer,) * 2 for v in variants}, .7)
    lap("context")
    verdicts, rows = decide(variants, by_plan, full, ALL, 1)
    lap("gates")
    by_seed, prompt = {m.id: m for m in negatives}, load_prompt("solve-short")
    size = 0
    for v in variants:
        p = by_plan[v.blueprint_id]
        size += len(case_card(make_case(make_pair(v, p, by_seed[p.seed_id], prompt), v, p, by_seed[p.seed_id])))
    lap("cards")
    accepted = sum(r["accepted"] for r in rows)
    work = sum(s for name, s in took.items() if name not in ("making", "asking"))
    return dict(n=len(variants), accepted=accepted, lost=len(failures) + len(lost), verdicts=len(verdicts), cards_mb=round(size / 2**20, 1), seconds=round(work, 1),
                ms_per_variant=round(1000 * work / len(variants), 2), peak_gb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
                parts={name: round(s, 1) for name, s in took.items()})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]: print(json.dumps(measure(int(sys.argv[2])), ensure_ascii=False))
    else:
        results = []
        for n in map(int, sys.argv[1:] or (1000, 3000, 10000)):
            done = subprocess.run([sys.executable, __file__, "--one", str(n)], env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True, capture_output=True)
            if done.returncode: sys.exit(done.stderr[-2000:])
            results.append(json.loads(done.stdout.splitlines()[-1]))
            print(results[-1], flush=True)
        print(json.dumps(results, ensure_ascii=False))
