"""Measure how leak-finding grows: `python benchmarks/leaks_scale.py [10000 30000 100000]`, n synthetic items against n others.

Each size runs in a process of its own, so that the peak memory is its own. One item in a hundred is planted in the other set; the last
line is JSON. 100 000 items take some minutes.
"""
import json
import os
import random
import resource
import subprocess
import sys
import time

import numpy as np

SYLLABLES = [chr(c) for c in range(0xAC00, 0xD7A4) if (c - 0xAC00) % 28 in (0, 1, 4, 8, 16, 17, 21)]
ENDINGS = ["은", "이", "을", "의", "에", "으로", "에서", "까지", "하였다", "한다", "하는", "되었다", ""]
ASKS = ["윗글의 내용과 일치하는 것은?", "다음 설명으로 옳지 않은 것은?", "글쓴이의 견해로 가장 적절한 것은?", "<보기>를 바르게 이해한 것은?"]


def make_items(n: int, name: str, n_stems: int = 30_000) -> list:
    "Items of stems with Zipf frequencies; both sets draw from one vocabulary."
    from distill.core.records import Item
    rng = random.Random("stems")
    stems = ["".join(rng.choices(SYLLABLES, k=rng.choice([2, 2, 2, 3, 4]))) for _ in range(n_stems)]
    draw = np.random.default_rng([n, *name.encode()])
    share = 1 / (np.arange(n_stems) + 20)
    share, items = share / share.sum(), []
    for start in range(0, n, 5000):
        words = draw.choice(n_stems, (min(5000, n - start), 70), p=share)
        ends = draw.integers(0, len(ENDINGS), words.shape)
        for row, tail in zip(words, ends):
            text = [stems[w] + ENDINGS[e] for w, e in zip(row, tail)]
            passage = " ".join(" ".join(text[k:k + 10]) + "." for k in range(0, 50, 10))
            choices = tuple(f"{k} {' '.join(text[50 + 4 * k:54 + 4 * k])}" for k in range(5))
            items.append(Item(subject="국어", passage=passage, question=f"{text[-1]} {ASKS[row[0] % 4]}", choices=choices))
    return items


def measure(n: int) -> dict:
    "Find the planted among n × n."
    from distill.core.leaks import PLANTS, find_leaks, plant
    rng = random.Random(n)
    left, right = make_items(n, "left"), make_items(n, "right")
    truth = set()
    for k in range(0, n, 100):
        left[k], right[k] = plant(PLANTS[k // 100 % len(PLANTS)], left[k], right[k], rng)
        truth.add((left[k].id, right[k].id))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, time.time()
    found = {(leak.left, leak.right) for leak in find_leaks(left, right)}
    seconds = time.time() - start
    return dict(n=n, seconds=round(seconds, 1), peak_gb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2), items_gb=round(before, 2),
                planted=len(truth), found=len(found & truth), false=len(found - truth))


def main(*sizes: str):
    if sizes[:1] == ("--one",): return print(json.dumps(measure(int(sizes[1]))))
    rows = []
    for n in map(int, sizes or ("10000", "30000", "100000")):
        done = subprocess.run([sys.executable, __file__, "--one", str(n)], stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        if done.returncode: raise SystemExit(f"{n} × {n} ended with exit code {done.returncode}")
        row = json.loads(done.stdout.splitlines()[-1])
        rows.append(row)
        grown = "" if len(rows) < 2 else f"; time grew as n^{np.log(row['seconds'] / rows[-2]['seconds']) / np.log(row['n'] / rows[-2]['n']):.2f}"
        print(f"{n} × {n}: {row['seconds']} s, peak {row['peak_gb']} GB ({row['items_gb']} GB of it the items); "
              f"{row['found']} of {row['planted']} planted leaks found, {row['false']} false{grown}", flush=True)
    print(json.dumps(rows))


if __name__ == "__main__": main(*sys.argv[1:])
