"A budget stops a run between two calls, an estimate comes before the first, and no key is ever written down."

import json
from collections import Counter

import pytest
from farms import distill, farm, mark, start

from distill.core.estimate import estimate_profile
from distill.core.ledger import Ledger
from distill.core.runner import plan
from distill.core.standin import StandIn

MODELS = [word for who, accuracy in (("teacher", .95), ("student", .4))
          for word in ("--set", f"{who}=sim:{who}?accuracy={accuracy}&items=data/items/sample.csv&calls=data/runs/calls")]
PRICES = "teacher=0.5/3.0, student=0.1/0.3"
KEYS = dict(GEMINI_API_KEY="planted-gemini-key-7f3a", OPENAI_API_KEY="planted-openai-key-91bc")


def test_a_budget_stops_the_run_and_a_higher_one_goes_on(tmp_path):
    root, words = farm(tmp_path/"root"), ["run", "sim", "--to", "00", *MODELS, "--set", f"prices={PRICES}", "--set"]
    stopped = start(root, *words, "budget_usd=0.008")
    said, _ = stopped.communicate()
    assert stopped.returncode == 1 and "Traceback" not in said
    assert "the budget of US$ 0.008 is reached" in said and "are left: run again with a higher budget_usd" in said, said
    with Ledger(root/"data"/"runs"/"ledger.sqlite", "sim") as ledger:
        spent, at_risk = ledger.spent()
        assert 0 < spent <= .008 and at_risk == 0 and ledger.in_doubt() == []
    n_first = len((root/"data"/"runs"/"calls").read_text().split())
    distill(root, *words, "budget_usd=5")
    calls = (root/"data"/"runs"/"calls").read_text().split()
    assert n_first < len(calls) and max(Counter(calls).values()) == 1 # nothing was paid for twice
    manifest = json.loads((root/"reports"/"sim"/"manifest.json").read_text())
    with Ledger(root/"data"/"runs"/"ledger.sqlite", "sim") as ledger: assert manifest["cost_usd"] == pytest.approx(ledger.spent()[0], abs=1e-5)
    assert {row["price"]["source"] for row in manifest["models"].values()} == {"profile"}
    done = mark(root, "sim", "00_seed")
    distill(root, *words, "budget_usd=6")
    assert mark(root, "sim", "00_seed") == done # another cap is no reason to do it again


def test_an_estimate_after_the_first_items_is_close(tmp_path):
    root, sets = farm(tmp_path/"root"), [*MODELS, "--set", f"prices={PRICES}", "--set", "max_seeds=10"]
    distill(root, "run", "sim", "--to", "02", *sets[:-1], "max_seeds=3") # a pilot of three seeds
    values = plan("sim", "sim", sets=dict(word.split("=", 1) for word in sets if word != "--set"))[2]
    with Ledger(root/"data"/"runs"/"ledger.sqlite", prices=PRICES) as ledger: rows, _ = estimate_profile(values, ledger)
    expected, most = (sum(getattr(row, name) for row in rows if row.work.stage < "03") for name in ("usd", "most_usd"))
    fresh = farm(tmp_path/"fresh") # ten seeds are carried elsewhere than three: the pilot's calls are no part of the whole run
    distill(fresh, "run", "sim", "--to", "02", *sets)
    with Ledger(fresh/"data"/"runs"/"ledger.sqlite", "sim") as ledger: actual, _ = ledger.spent()
    print(f"expected US$ {expected:.4f}, actual {actual:.4f}, at most {most:.4f}")
    assert .8 <= expected / actual <= 1.2 and actual <= most


@pytest.mark.parametrize("keys, code", [("", 0), ("another", 1)])
def test_no_key_is_written_anywhere(tmp_path, monkeypatch, keys, code):
    for name, key in KEYS.items(): monkeypatch.setenv(name, key)
    with StandIn(keys=keys) as server:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        root = farm(tmp_path/"root")
        run = start(root, "run", "sim", "--to", "00", "--set", "teacher=gemini:gemini-3-flash-preview",
                    "--set", f"student=openai:Qwen/Qwen3-14B@{server.url}/v1", "--set", "student_samples=1")
        said, _ = run.communicate()
        if not keys: assert server.count()["paid"] > 0
    assert run.returncode == code, said
    if code: assert "GEMINI_API_KEY" in said and "Traceback" not in said
    files = [path for path in root.rglob("*") if path.is_file()]
    assert any("ledger.sqlite" in path.name for path in files) and any(path.suffix == ".ipynb" for path in files)
    for key in KEYS.values():
        assert key not in said
        assert [path for path in files if key.encode() in path.read_bytes()] == []
