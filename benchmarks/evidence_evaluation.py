"""Reproduce every figure of the evaluation: `make evidence NAME=evaluation` (about 15 minutes on 2 cores), or some points: `… evidence_evaluation.py 1 5`.

Prints a line a point with its figure and goal, and last one line of JSON. Nothing is asserted that was not run: points 2 and 3 want a Chromium and
the package playwright, point 4 the extra [lm-eval]; without them the point is skipped, with a sentence.
"""
import importlib.util
import sys
import tempfile
from pathlib import Path

from points import run_points

ROOT = Path(__file__).resolve().parents[1]


def point_1():
    "Coverage and type-I error, by simulation."
    from distill.core.coverage import study, verdict
    return verdict(study()[0])


def told(found: dict) -> tuple[str, bool | None]:
    "Say what the browser saw."
    if found.get("skipped"): return found["skipped"], None
    if "views" not in found: return found["fault"], False
    return "; ".join([f"{found['views']} views of {found['pages']} pages, {len(found['faults'])} faults", *found["faults"][:5]]), found["ok"]


def point_2():
    "A run and a site made of hostile text."
    from site_check import run
    return told(run())


def point_3():
    "The published example, at two widths."
    from site_check import chromium, look
    if why := chromium(): return why, None
    with tempfile.TemporaryDirectory() as folder: return told(look(Path(folder), {ROOT/"reports"/"example": set()}))


def point_4():
    "Likelihoods against lm-evaluation-harness."
    if importlib.util.find_spec("lm_eval") is None: return "lm_eval is not installed (extra [lm-eval]), so nothing was compared", None
    from eval import SHARED, run
    found = run()
    cases = {name: case for name, case in found.items() if "ratio" in case}
    tasks = [scored for name, case in found.items() if name.startswith("multiple_choice") for scored in case.values()]
    least = min(cases[f"{SHARED}, {wording}"]["ratio"] for wording in ("number", "text"))
    figure = "; ".join(f"{name}: {case['ratio']:.2f}×" for name, case in cases.items())
    same = all(case["same_predictions"] for case in cases.values())
    agree = sum(scored["agree"] for scored in tasks), sum(scored["items"] for scored in tasks)
    return f"{figure}; predictions {'all equal' if same else 'DIFFER'}; its own task agrees on {agree[0]} of {agree[1]}", least >= 2 and same and agree[0] == agree[1]


def point_5():
    "The error analysis at 100,000 predictions."
    from analysis_scale import run
    found = run()
    return f"{found['predictions']:,} predictions in {found['seconds']:.0f} s, {found['peak_gb']:.2f} GB", found["ok"]


GOALS = {"1": "coverage 93–97 % at nominal 95, type-I error ≤ 6 %", "2": "every page shows it as text; no script, no request",
         "3": "no box, overflow, unreadable label or dead link at 1280 and 390 px; offline", "4": "equal predictions, ≥ 2× on shared passages", "5": "≤ 60 s, ≤ 2 GB"}

if __name__ == "__main__":
    run_points({"1": point_1, "2": point_2, "3": point_3, "4": point_4, "5": point_5}, GOALS, sys.argv[1:])
