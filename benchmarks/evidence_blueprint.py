"""Reproduce every figure of the blueprint: `make evidence NAME=blueprint` (about 20 minutes on 2 cores), or some points: `… evidence_blueprint.py 1 3`.

Prints a line a point with its figure and goal, and last one line of JSON. Nothing is asserted that was not run.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pandas as pd
from points import run_points

ROOT = Path(__file__).resolve().parents[1]
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
DIALS = ("wrong_key", "dropped_step", "swapped_entity")
SHARE = .5 # of the transfers that a dial spoils


def say(text: str): print(text, flush=True)
def stage(run: str, name: str) -> Path: return ROOT/"data"/"runs"/run/name
def funnel(run: str, name: str) -> dict: return json.loads((stage(run, name)/"funnel.json").read_text(encoding="utf-8"))


def distill(*words: str) -> tuple[int, str]:
    "Run the command line."
    done = subprocess.run([sys.executable, "-m", "distill.cli", *words], cwd=ROOT, env=ENV, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def run_lab(run: str, **settings) -> str:
    "Run the lab's first three stages anew; '' or what went wrong."
    for folder in (ROOT/"data"/"runs"/run, ROOT/"reports"/run): shutil.rmtree(folder, ignore_errors=True)
    code, out = distill("run", "lab", "--run", run, "--to", "02", *(w for k, v in settings.items() for w in ("--set", f"{k}={v}")))
    return out[-400:] if code else ""


def sound(run: str) -> dict[tuple, tuple[str, bool]]:
    "What was asked for → what came back, and whether it passed every gate; drafts that repeat one another are sound all the same."
    from distill.core.records import Blueprint, Variant, Verdict, read_table
    plans = {p.id: p for p in read_table(stage(run, "02_blueprint")/"blueprints.parquet", Blueprint)}
    def asked(v): return plans[v.blueprint_id].item_id, plans[v.blueprint_id].target, plans[v.blueprint_id].draft # a blueprint's id names the teacher, which differs
    failed = {v.variant_id for v in read_table(stage(run, "02_blueprint")/"verdicts.parquet", Verdict) if not v.passed and v.code != "like-variant"}
    return {asked(v): (v.model_dump_json(exclude={"blueprint_id"}), v.id not in failed) for v in read_table(stage(run, "02_blueprint")/"variants.parquet", Variant)}


def point_1():
    "A clean oracle, every mutation of what it made, and every dial."
    clean = "evidence-blueprint"
    if fault := run_lab(clean, teacher="lab:oracle", n_mutated=0): return fault, False
    truth, found = sound(clean), funnel(clean, "02_blueprint")
    share = sum(ok for _, ok in truth.values()) / found["blueprints"]
    kills = pd.read_parquet(stage(clean, "02_blueprint")/"kill_rates.parquet")
    whole = kills[kills.gate == "any"].set_index("mutation")
    for name, row in whole.iterrows():
        best = kills[(kills.mutation == name) & (kills.gate != "any") & (kills.killed > 0)].sort_values("killed", ascending=False)
        say(f"   {name:26} {int(row.killed):4} of {int(row.n):4} ({row.rate:6.1%})  " + ", ".join(f"{g} {r:.0%}" for g, r in zip(best.gate[:4], best.rate[:4])))
    mutants = whole.drop("none")
    idle = list(mutants.index[mutants.n == 0])
    overall, least = mutants.killed.sum() / mutants.n.sum(), mutants.rate.min()
    planted = killed = 0
    for dial in DIALS:
        run = f"evidence-{dial.replace('_', '-')}"
        if fault := run_lab(run, teacher=f"lab:oracle?{dial}={SHARE}", n_mutated=1): return fault, False
        mine = {plan: ok for plan, (name, ok) in sound(run).items() if truth.get(plan, ("",))[0] != name}
        planted, killed = planted + len(mine), killed + sum(not ok for ok in mine.values())
        kept = {plan: ok for plan, (name, ok) in sound(run).items() if truth.get(plan, ("",))[0] == name}
        say(f"   {dial}={SHARE}: {len(mine)} transfers spoilt, {sum(not ok for ok in mine.values())} of them refused; {sum(not ok for ok in kept.values())} of the {len(kept)} others refused")
    real = from_bank()
    for name, (n, dead) in real.items(): say(f"   bank: {name:26} {dead:4} of {n:4} ({dead / max(1, n):6.1%})")
    n, dead = (sum(row[k] for name, row in real.items() if name != "none") for k in (0, 1))
    (n_real, refused), weak = real["none"], min((row[1] / row[0], name) for name, row in real.items() if row[0] and name != "none")
    figure = (f"clean oracle: {share:.1%} of {found['blueprints']} candidates pass every gate (so {1 - share:.1%} refused falsely); {overall:.2%} of {int(mutants.n.sum()):,} mutants killed, "
              f"least of the {len(mutants)} mutations {mutants.rate.idxmin()} {least:.1%}; dials: {killed} of {planted} planted defects refused; "
              f"{n_real} authored items of the bank: {refused} refused falsely ({refused / n_real:.1%}), {dead / n:.1%} of {n:,} mutants killed, least {weak[1]} {weak[0]:.1%}"
              + (f"; no mutant of: {', '.join(idle)}" if idle else ""))
    return figure, not idle and share >= .95 and overall >= .95 and least >= .85 and killed / planted >= .95 and 1 - share <= .03


def from_bank() -> dict[str, tuple[int, int]]:
    "Mutation → how many mutants of the bank's items, and how many were killed."
    from distill.core.bank import load_bank
    from distill.core.items import load_items
    from distill.core.mutations import from_bank as read_as_variants
    from distill.core.mutations import kill_table
    rows = kill_table(*read_as_variants(load_bank(), load_items("lab:eval?n=60")[0]))
    return {r["mutation"]: (r["n"], r["killed"]) for r in rows if r["gate"] == "any"}


def point_2():
    "The two case studies and the bank, with recorded answers: extraction, transfer, gates, review, card."
    run = "evidence-cases"
    for folder in (ROOT/"data"/"runs"/run, ROOT/"reports"/run): shutil.rmtree(folder, ignore_errors=True)
    code, out = distill("run", "cases", "--run", run, "--to", "03")
    if code: return out[-400:], False
    left = funnel(run, "02_blueprint")
    from distill.core.cases import CASE_CSS, case_card, make_case
    from distill.core.records import Blueprint, HardNegative, Item, Pair, Variant, read_table
    from distill.core.review import REASONS, read_decisions, settle
    cases = {item.id: item for item in read_cases(Item)}
    tables = {name: {r.id: r for r in read_table(stage(run, folder)/f"{name}.parquet", kind)} for folder, name, kind in (
        ("01_hard_negatives", "hard_negatives", HardNegative), ("02_blueprint", "blueprints", Blueprint), ("02_blueprint", "variants", Variant))}
    pairs = read_table(stage(run, "03_preference")/"pairs.parquet", Pair)
    mine = [p for p in pairs if p.item_id in cases]
    cards = [case_card(make_case(p, tables["variants"][p.variant_id], tables["blueprints"][p.blueprint_id], tables["hard_negatives"][p.seed_id])) for p in mine]
    page = ROOT/"reports"/run/"cases.html"
    page.write_text(f"<!doctype html><html lang='ko'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>{CASE_CSS}{''.join(cards)}</html>", encoding="utf-8")
    seen = (stage(run, "03_preference")/"review.html").read_text(encoding="utf-8")
    shown = sum(p.id in seen for p in mine)
    by_hand = ROOT/"reports"/run/"decisions.json"
    by_hand.write_text(json.dumps([dict(pair_id=p.id, decision="reject" if n else "accept", reason=list(REASONS)[0] if n else "",
                                        reviewer="evidence", time="2026-01-01T00:00:00Z") for n, p in enumerate(mine)]), encoding="utf-8")
    kept, told = settle(pairs, read_decisions(by_hand, {p.id for p in pairs}))
    gone = {p.id for p in pairs} - {p.id for p in kept}
    for p in mine: say(f"   {cases[p.item_id].domain} → {p.subject} {p.domain} ({p.transfer}), {p.error_kind}: pair {p.id}")
    say(f"   cards: {page.relative_to(ROOT)}")
    figure = (f"{left['structures']} structures of {left['hard_negatives']} authored items; {left['accepted']} of {left['variants']} recorded transfers accepted by every gate; "
              f"both cases end as pairs: {len({p.item_id for p in mine})} of {len(cases)}, {shown} of {len(mine)} of them up for review; of {len(mine)} decisions read back, {len(gone)} rejected and out; {len(cards)} cards drawn")
    return figure, gone == {p.id for p in mine[1:]} and len({p.item_id for p in mine}) == len(cases) == 2 and shown == len(mine) == len(cards)


def read_cases(kind: type) -> list:
    from distill.core.items import load_items
    return load_items(str(ROOT/"data"/"cases"/"seeds.jsonl"))[0]


def point_3():
    "A run whose teacher says garbage in half of its answers."
    from distill.core.garbage import GARBAGE
    run, ledger = "evidence-garbage", "data/runs/evidence-garbage.sqlite"
    for file in (ROOT/"data"/"runs").glob("evidence-garbage.sqlite*"): file.unlink()
    for folder in (ROOT/"data"/"runs"/run, ROOT/"reports"/run): shutil.rmtree(folder, ignore_errors=True)
    code, out = distill("run", "lab", "--run", run, "--to", "03", "--set", "teacher=lab:oracle?garbage=0.5", "--set", "n_mutated=1", "--set", f"ledger={ledger}")
    if code: return out[-400:], False
    out = stage(run, "02_blueprint")
    lost, rows = pd.read_parquet(out/"failures.parquet"), pd.read_parquet(out/"decisions.parquet")
    reasons = Counter(f"{r.step}:{r.code}" for r in lost.itertuples()) + Counter(rows[rows.reason.ne("") & rows.reason.ne("another-draft")].reason)
    for reason, n in reasons.most_common(): say(f"   {reason}: {n}")
    from distill.core.records import Variant, read_table
    variants = {v.id: v for v in read_table(out/"variants.parquet", Variant)}
    pairs = pd.read_parquet(stage(run, "03_preference")/"pairs.parquet")
    bad = sum(marked(variants[name]) for name in pairs.variant_id)
    kinds = every_kind(GARBAGE)
    for name, ends in kinds.items(): say(f"   {name}: extraction {ends[0] or 'KEPT'}, transfer {ends[1] or 'KEPT'}")
    named = sum(bool(e) for ends in kinds.values() for e in ends)
    silent = int((~rows.accepted & rows.reason.eq("")).sum())
    figure = (f"half of the replies garbage: the run ends with {len(pairs)} pairs, {bad} of them garbage; {len(lost)} replies unread and {int((~rows.accepted).sum())} variants refused, "
              f"{silent} without a reason; each of {len(kinds)} kinds said in both tasks: {named} of {2 * len(kinds)} end with a reason, none crashes")
    return figure, not bad and not silent and named == 2 * len(kinds) and len(pairs) > 0


def marked(variant) -> bool:
    "Whether a variant shows a trace of garbage."
    text = variant.model_dump_json()
    return "<script>" in text or "지시를 무시" in text or len(text) > 50_000 or "popular word is only a lure" in text or not any(s.cites for s in variant.chosen)


def every_kind(kinds: dict) -> dict[str, tuple[str, str]]:
    "Kind of garbage → the codes with which an extraction and a transfer end that are said so."
    from distill.blueprint import decide, extract, load_domains, make_blueprints, plan_targets, transfer
    from distill.core.gates import make_context
    from distill.core.items import load_items
    from distill.core.ledger import Ledger, Reply
    from distill.core.models import load_model
    from distill.core.prompts import load_prompt
    from blueprint_scale import hard_negatives
    negatives, oracle = hard_negatives(1), load_model("lab:oracle")
    item, pool = negatives[0].item, load_items("lab:pool?n=200")[0] # the pool tells the seed's own words from common ones
    context = make_context([item], pool, [])

    class Ruined:
        "The oracle, with every reply to a task exchanged."
        chat_template, thinking = "", False
        def __init__(self, name, task): self.spec, self.identity, self.name, self.task = "sim:ruined", f"{name}:{task}", name, task
        def generate(self, requests):
            for n, reply in oracle.generate(requests):
                ruin = self.task in requests[n].messages[-1].content
                yield n, Reply(kinds[self.name](json.loads(reply.text))) if ruin else reply

    ends = {}
    for name in kinds:
        with tempfile.TemporaryDirectory() as tmp, Ledger(Path(tmp)/"ledger.sqlite") as book:
            lost = extract(Ruined(name, "구조 추출"), negatives, load_prompt("extract"), context, book)[1]
            found, _ = extract(oracle, negatives, load_prompt("extract"), context, book)
            plans = make_blueprints(negatives, found, {negatives[0].id: plan_targets([(item, "틀")], load_domains(ROOT/"data"/"domains.json"), 1, 0)[0]}, 1)
            made, failed = transfer(Ruined(name, "구조 전이"), plans, {item.id: item}, load_prompt("transfer"), book)
            full = make_context([item], pool, [], made, {v.item.id: (v.item.answer,) * 2 for v in made})
            rows = decide(made, {p.id: p for p in plans}, full, drafts=1)[1]
        ends[name] = ((lost or [dict(code="")])[0]["code"], failed[0]["code"] if failed else rows[0]["reason"])
    return ends


def point_4():
    "1,000, 3,000 and 10,000 variants through extraction, gates and cards."
    done = subprocess.run([sys.executable, str(ROOT/"benchmarks"/"blueprint_scale.py")], cwd=ROOT, env=ENV, text=True, capture_output=True)
    if done.returncode: return done.stderr[-400:], False
    rows = json.loads(done.stdout.splitlines()[-1])
    for row in rows: say(f"   {row}")
    first, last = rows[0], rows[-1]
    growth = (last["seconds"] / first["seconds"]) / (last["n"] / first["n"])
    figure = (f"{last['n']:,} variants in {last['seconds']:.0f} s ({last['ms_per_variant']:.1f} ms each) and {last['peak_gb']:.2f} GB; "
              + ", ".join(f"{r['n']:,}: {r['seconds']:.0f} s, {r['peak_gb']:.2f} GB" for r in rows[:-1]) + f"; time grows {growth:.2f} times as fast as the number")
    return figure, last["n"] >= 9_900 and growth <= 1.5


GOALS = {
    "1": "≥ 95 % of a clean oracle's variants accepted; with dials on ≥ 95 % of planted defects killed, every mutation ≥ 85 %, false rejections of the lab's variants ≤ 3 %",
    "2": "both case studies through extraction, transfer, gates and review; their cards drawn",
    "3": "no garbage crashes a run or becomes a pair; each has its reason code",
    "4": "10,000 variants: time and memory printed, near-linear"}

if __name__ == "__main__": run_points({n: globals()[f"point_{n}"] for n in GOALS}, GOALS, sys.argv[1:])
