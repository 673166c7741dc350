"What every evidence script ends with: its points run, a line a point with figure and goal, and last one line of JSON."
import json
import sys
import time
from collections.abc import Callable, Sequence


def run_points(
    points: dict[str, Callable[[], tuple[str, bool | None]]], # number → what measures it: figure, and whether the goal is met; None was not run
    goals: dict[str, str], # number → goal
    wanted: Sequence[str] = (), # numbers; all unless told
):
    "Measure points, and leave with 1 if a goal is missed."
    results = {}
    for n in wanted or goals:
        start = time.time()
        figure, ok = points[n]()
        results[n] = dict(figure=figure, goal=goals[n], ok=ok if ok is None else bool(ok))
        print(f"{n} {'skip' if ok is None else 'ok  ' if ok else 'MISS'} {figure}  [goal: {goals[n]}; {time.time() - start:.0f} s]", flush=True)
    print(json.dumps(results, ensure_ascii=False))
    sys.exit(any(r["ok"] is False for r in results.values()))
