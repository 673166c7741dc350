"""Reproduce what the claims came to: `make evidence NAME=claims` (about 90 minutes on 2 cores, or a minute where the units are done), or some points.

Point 1 is `distill claims` itself: it goes on where an earlier sitting was stopped, and the figure adds up the sittings of this code. Prints a line
a point with its figure and goal, and last one line of JSON. Nothing is asserted that was not run.
"""
import json
import os
import subprocess
import sys
from pathlib import Path

from points import run_points

ROOT = Path(__file__).resolve().parents[1]
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT)}


def point_1():
    "Everything, by one command."
    from distill.studies.arms import STUDIES_DIR, protocol
    done = subprocess.run([sys.executable, "-m", "distill.cli", "claims"], cwd=ROOT, env=ENV, text=True, stdout=subprocess.PIPE)
    print(done.stdout, flush=True)
    if done.returncode: return f"`distill claims` ended with {done.returncode}", False
    checked = subprocess.run([sys.executable, "-m", "distill.cli", "claims", "--check"], cwd=ROOT, env=ENV, text=True, capture_output=True)
    sittings = [json.loads(line) for line in (STUDIES_DIR/"sittings.jsonl").read_text(encoding="utf-8").splitlines()]
    own = [s for s in sittings if s["code"] == protocol() and s["size"] == "full"]
    minutes = sum(s["seconds"] for s in own) / 60
    return (f"{minutes:.0f} minutes in {len(own)} sittings of {max(s['processes'] for s in own)} processes; the register is "
            f"{'what README states' if not checked.returncode else 'not what README states'}"), minutes <= 90 and not checked.returncode


def point_2():
    "Every verdict with its numbers; truth that is known in advance."
    from distill.studies.claims import CLAIMS, judge, judge_claim, read_studies
    from distill.studies.planted import SANE, error_rates, planted, sanity
    verdicts = judge(CLAIMS, read_studies(ROOT))
    whole = [v for v in verdicts if None not in (v.effect, v.low, v.high, v.p, v.p_holm) and v.bases and v.seeds]
    first, right = sanity()
    claim = next(c for c in CLAIMS if c.family == "primary") # at the size that was run
    large = SANE[0][0].model_copy(update=dict(bases=claim.bases, items=claim.items))
    at_size = {points: judge_claim(large, planted(large, points)).state for points in (15, -15)}
    null, real = (error_rates(effect, claim, repeats=300) for effect in (0, 10))
    figure = (f"{len(whole)} of {len(verdicts)} verdicts with n, effect, interval, p and p after Holm; planted effect and null with 5 bases: "
              f"{', '.join(v.state for v in first)}; planted +15 and −15 points at the size that was run: {', '.join(at_size.values())}; there a null is called "
              f"supported in {null['supported']:.1%} of 300 studies, and 10 points are found in {real['supported']:.0%}")
    return figure, len(whole) == len(verdicts) and right and [*at_size.values()] == ["supported", "refuted"] and null["supported"] <= .06


def point_3():
    "The pivot's failure modes."
    from distill.studies.claims import CLAIMS, FAILURES, judge, judge_failure, read_studies
    studies = read_studies(ROOT)
    if "pivot" not in studies: return "the pivot was not run", None
    verdicts = judge(CLAIMS, studies)
    rounds = {(p.curve, p.round) for p in studies["pivot"].points if p.arm == "self"}
    curves = [curve for names in FAILURES.values() for curve in names]
    said = [judge_failure(mode, verdicts) for mode in FAILURES]
    whole = all((curve, n) in rounds for curve in curves for n in range(1, 4))
    return f"{len(curves)} curves over {1 + max(n for _, n in rounds)} rounds; {' '.join(said)}", whole and not any("not run" in s for s in said)


GOALS = {"1": "≤ 90 minutes on 2 cores, resumable, the register printed", "2": "n, effect, interval, p for every verdict; known truths judged right; a null supported ≤ 6 %",
         "3": "a curve over rounds and a sentence for each mode"}

if __name__ == "__main__": run_points({"1": point_1, "2": point_2, "3": point_3}, GOALS, sys.argv[1:])
