"""How long the error analysis of 05 takes, and how much memory, on 100,000 predictions: `python benchmarks/analysis_scale.py [predictions]`.

Half of the predictions are a student's before tuning, half after, on the same items; a teacher's answers come on top, since two of the measures
compare with them. Items and answers are the bank's, copied with a number in every sentence, so that no sentence is met twice and nothing that is
remembered of one helps with another: passages of some 600 characters, two to five to a passage, solutions of some 250. A student is right by lot, one in
twenty answers cannot be read, one in thirty is cut short. What runs is what 05 runs after the last answer is in: reading the tables, the comparison
by subject with intervals and tests, slices, moves, places, lengths, reasoning, errors by rule, lists, their files and pages, and all figures.
It runs in a process of its own, which starts others for the longest part; seconds are those of the clock and of the processor, of all of them. Memory is
the most that all of them held together, tables included: the larger of the first one's own peak (VmHWM) and of the sum of their proportional sets (PSS: a
page that two share counts half for each), looked up once a second (looking walks through all pages: four times a
second took a quarter of a core). The sum of all peaks is printed too: it counts what processes share once for each of them, so it is an upper bound and
no use of memory. Prints a line and last one line of JSON.
"""
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", MPLBACKEND="Agg")
N, SECONDS, GB = 100_000, 60, 2.0


def make(folder: Path, n_items: int, seed: int = 0) -> None:
    "Write items and three sides of answers."
    from distill.core.bank import load_bank
    from distill.core.prompts import render_path
    from distill.core.quality import written
    from distill.core.records import write_table
    bank, draw = load_bank(), random.Random(seed)
    def marked(text, n): return text.replace(". ", f". {n}호에서 ")
    items, sides = [], {"base": [], "tuned": [], "teacher": []}
    while len(items) < n_items:
        n, b = len(items), bank[len(items) // 3 % len(bank)]
        item = b.item.model_copy(update=dict(passage=marked(b.item.passage, n // 3), view=marked(b.item.view, n // 3), question=f"{n}호. {b.item.question}",
                                             group=f"{n // 3}" if n % 7 else "", tags=(f"structure:{b.structure.error.kind}", f"kind:{('trap', 'neutral')[n % 2]}")))
        items.append(item)
        shared = draw.random() < .6
        for who, rate in (("base", .55), ("tuned", .65), ("teacher", .97)):
            right = draw.random() < rate if who == "teacher" or not shared else (n * 7919 % 100) / 100 < rate
            path, answer = (b.golden, item.answer) if right else (b.failed, b.failed_answer)
            text = marked("\n".join(f"{k}. {n}호에서 {line[3:]}" for k, line in enumerate(render_path(path, answer).splitlines()[:-1], 1)), n) + f"\n정답: {answer}"
            lot = draw.random() if who != "teacher" else 1
            sides[who].append(written(item, "모르겠습니다." if lot < .05 else text[:len(text) // 2] if lot < .083 else text, who))
    for name, rows in {"items": items, **sides}.items(): write_table(rows, folder/f"{name}.parquet")


def analyse(folder: Path) -> dict:
    "Do what 05 does with them."
    from distill.core.compare import compare_rows
    from distill.core.errorflow import (at_chance, confidence, hardest, length_figure, length_table, list_page, listed, moves, moves_figure, outcomes,
                                        position_bias, position_figure, quality_figure, unreadable, write_list)
    from distill.core.plots import before_after_figure, flow_figure, save_figure, setup
    from distill.core.quality import quality_and_errors, quality_change
    from distill.core.records import Item, Response, read_table
    from distill.eda import accuracies, by_slice, compare_where, error_flow, finding, group_finding, quality_finding, results_table, trap_errors
    took, last = {}, time.perf_counter()
    def done(name):
        nonlocal last
        took[name], last = round(time.perf_counter() - last, 1), time.perf_counter()
    items = read_table(folder/"items.parquet", Item)
    told = [read_table(folder/f"{who}.parquet", Response) for who in ("base", "tuned", "teacher")]
    done("tables read and checked")
    scored, rows = outcomes(items, *told), compare_rows(items, *told[:2])
    total, groups, flow = compare_where(scored), by_slice(scored), error_flow(scored)
    at_chance(scored.right_before, scored.choices), trap_errors(scored), accuracies(items, told[2]), results_table(rows)
    by = {name: moves(scored, name) for name in ("subject", "structure")}
    done("compared, sliced")
    bias, lengths, sure = position_bias(scored), length_table(scored), [confidence(side) for side in told[:2]]
    done("places, lengths")
    golden = {r.item_id: r for item, r in zip(items, told[2]) if r.answer == item.answer}
    measured, errors = quality_and_errors(items, dict(zip(("before", "after"), told)), golden)
    change = quality_change(*measured.values(), scored.group.tolist())
    done("reasoning, errors by rule")
    broken = listed(scored, items, *told[:2], scored.right_before & ~scored.right_after)
    lists = {"regressions": broken, "unreadable": unreadable(scored, *told[:2]), "hardest": hardest(scored, len(scored)), "errors": errors}
    for name, found in lists.items(): write_list(found, folder/f"{name}.csv")
    page = "\n".join(list_page(found, name, f"{name}.csv", 20) for name, found in lists.items())
    (folder/"lists.html").write_text(page, encoding="utf-8")
    done("lists and pages")
    setup()
    bars = [dict(label=row["subject"], **row) for row in rows]
    drawn = dict(subjects=before_after_figure(bars, finding(total)), flow=flow_figure(flow, "flow"), moves=moves_figure(by["subject"], "moves"),
                 structures=moves_figure(by["structure"], "structures"), positions=position_figure(bias), lengths=length_figure(scored),
                 quality=quality_figure(change, quality_finding(change)),
                 groups=before_after_figure([dict(label=name, **row) for name, row in groups["by_kind"].items()], group_finding(groups) or "kinds"))
    for name, figure in drawn.items(): save_figure(figure, folder/"figures"/f"{name}.png")
    done("figures")
    assert flow["right_wrong"] == len(broken) and by["subject"].n.sum() == len(items) and sure == [None, None] and len(lengths) == 8
    return dict(n_items=len(items), n_wrong=len(errors), n_broken=len(broken), page_kb=len(page) // 1024, took=took)


def run(n: int = N) -> dict:
    "Make the files, then analyse them in a process of its own."
    with tempfile.TemporaryDirectory() as name:
        subprocess.run([sys.executable, __file__, "make", name, str(n // 2)], check=True)
        start = time.perf_counter()
        with subprocess.Popen([sys.executable, __file__, "analyse", name]) as job: held, peaks = _watched(job)
        seconds, said = round(time.perf_counter() - start, 1), Path(name)/"found.json"
        if job.returncode: raise ValueError(f"the analysis of {n} predictions ended with code {job.returncode}: its last words stand above")
        found = json.loads(said.read_text(encoding="utf-8")) | dict(predictions=n, seconds=seconds)
    found |= dict(peak_gb=round(max(held, found["own_peak_gb"]), 3), sum_of_peaks_gb=round(peaks, 3))
    found |= dict(ok=found["seconds"] <= SECONDS and found["peak_gb"] <= GB)
    load = os.getloadavg()[0]
    print(f"{n:,} predictions on {found['n_items']:,} items: {found['seconds']} s ({found['cpu_seconds']} s of processor; load {load:.1f} on {os.cpu_count()} cores), "
          f"peak {found['peak_gb']:.2f} GB of all processes (sum of their peaks {found['sum_of_peaks_gb']:.2f}); goal ≤ {SECONDS} s and ≤ {GB:g} GB: {'ok' if found['ok'] else 'missed'}")
    print("  " + ", ".join(f"{name} {s} s" for name, s in found["took"].items()))
    print(json.dumps(found, ensure_ascii=False))
    return found


def _gb(process: int | str, file: str, name: str) -> float:
    "A line of a process's account; 0 once it has ended."
    try: return next((int(line.split()[1]) for line in Path(f"/proc/{process}/{file}").read_text().splitlines() if line.startswith(f"{name}:")), 0) / 2**20
    except (FileNotFoundError, ProcessLookupError): return 0.0

def _watched(job: subprocess.Popen) -> tuple[float, float]:
    "Wait for a process; the most that it and its children held together, and the largest sum of their peaks."
    held = peaks = 0.0
    while job.poll() is None:
        try: mine = [job.pid, *Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError): break
        held = max(held, sum(_gb(p, "smaps_rollup", "Pss") for p in mine))
        peaks = max(peaks, sum(_gb(p, "status", "VmHWM") for p in mine))
        with suppress(subprocess.TimeoutExpired): job.wait(1)
    job.wait()
    return held, peaks


if __name__ == "__main__":
    if sys.argv[1:2] == ["make"]: make(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["analyse"]:
        found = analyse(Path(sys.argv[2]))
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        found |= dict(cpu_seconds=round(sum(u.ru_utime + u.ru_stime for u in used), 1), own_peak_gb=round(_gb("self", "status", "VmHWM"), 3))
        (Path(sys.argv[2])/"found.json").write_text(json.dumps(found), encoding="utf-8")
    else: run(int(sys.argv[1]) if sys.argv[1:] else N)
