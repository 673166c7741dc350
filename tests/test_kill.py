"kill -9 in each stage that calls models: no row is lost or doubled, no call is paid for twice."

import time
from collections import Counter

from farms import distill, farm, kill_in, made, mark

from distill.core.files import STAGES
from distill.core.ledger import Ledger


def test_kill_9_loses_no_row_and_pays_no_call_twice(tmp_path):
    "Simulated models write a line for each call they answer."
    words = ["run", "sim", "--to", "03", "--set", "max_seeds=4"]
    for who, accuracy in (("teacher", .95), ("student", .4)):
        words += ["--set", f"{who}=sim:{who}?accuracy={accuracy}&items=data/items/sample.csv&latency=0.01&calls=data/runs/calls"]
    whole, killed = farm(tmp_path/"whole"), farm(tmp_path/"killed")
    distill(whole, *words)
    doubtful = set()
    for stage in STAGES[:4]:
        kill_in(killed, "sim", stage, mark(whole, "sim", stage)["wall_s"], words)
        time.sleep(1.5) # the notebook's process notices within a second
        if (killed/"data"/"runs"/"ledger.sqlite").exists():
            with Ledger(killed/"data"/"runs"/"ledger.sqlite") as ledger: doubtful |= {row["key"] for row in ledger.in_doubt()}
    distill(killed, *words)
    assert made(whole, "sim") == made(killed, "sim") # byte for byte: no row lost, none doubled
    once, calls = ((root/"data"/"runs"/"calls").read_text().split() for root in (whole, killed))
    twice = {key: n for key, n in Counter(calls).items() if n > 1}
    assert len(once) == len(set(once)) and set(calls) == set(once)
    assert set(twice) <= doubtful and all(n == 2 for n in twice.values()) and len(twice) <= 4, twice # in flight at a kill, one each
