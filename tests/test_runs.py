"Whole runs in a folder of their own: from nothing, again, after damage, and after kill -9 in training and evaluation."

import json
import re
import resource
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from farms import CHECKOUT, distill, farm, kill_in, made, mark, start

from distill.core.files import STAGES
from distill.core.pages import script_hash

SLICES = ("total", "held_out_domains", "control", "no_trap")
FIELDS = {"n", "baseline", "tuned", "diff", "ci_low", "ci_high", "p", "mde"}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    "A root with a finished tiny run."
    root = farm(tmp_path_factory.mktemp("tiny"))
    print(distill(root, "run", "tiny"))
    return root


def test_a_run_from_an_empty_folder_leaves_a_whole_report(tiny):
    report = tiny/"reports"/"tiny"
    for stage in STAGES: assert (report/f"{stage}.ipynb").exists() and (report/f"{stage}.html").exists()
    summary = json.loads((report/"summary.json").read_text(encoding="utf-8"))
    assert {"profile", "wall_s", "cost_usd", "funnel", "subjects", *SLICES, "contract_hash"} <= set(summary)
    assert list(summary["funnel"]) == ["items", "answered", "hard_negatives", "variants", "accepted", "pairs"]
    assert all(FIELDS <= set(row) for row in [*(summary[key] for key in SLICES), *summary["subjects"]])
    assert summary["profile"] == "tiny" and summary["cost_usd"] == 0 and summary["wall_s"] > 0
    manifest = json.loads((report/"manifest.json").read_text(encoding="utf-8"))
    assert manifest["contract_hash"] == summary["contract_hash"] and 0 < manifest["peak_rss_gb"] <= 4
    assert list(manifest["stages"]) == list(STAGES) and all(s["outputs"] for s in manifest["stages"].values())


def test_the_pages_need_nothing_from_elsewhere_and_name_no_folder_of_this_machine(tiny):
    for path in (tiny/"reports"/"tiny").rglob("*"):
        if path.suffix not in (".html", ".json", ".ipynb"): continue
        text = path.read_text(encoding="utf-8")
        assert str(tiny) not in text and str(Path.home()) + "/" not in text, path
        if path.suffix == ".html":
            assert not re.search(r"<(link|iframe|object)\b|<script[^>]* src=|src=\"(https?:)?//|url\([\"']?(https?:)?//", text), path
            scripts = [script for kind, script in re.findall(r"<script([^>]*)>(.*?)</script>", text, re.S) if "application/json" not in kind]
            assert scripts and all(script_hash(script) in text for script in scripts), path # the page allows these and no other
            for link in re.findall(r'(?:href|src)="([^":#]+)"', text): assert (path.parent/link).exists(), f"{path.name} links to {link}"


def test_an_unchanged_rerun_takes_seconds_and_makes_nothing(tiny):
    before = {p: p.stat().st_mtime_ns for p in (tiny/"data"/"runs"/"tiny").rglob("*")}
    def processor(): return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) # whatever else the machine does
    began = processor()
    said = distill(tiny, "run", "tiny")
    assert processor() - began <= 10 and said.count("unchanged") == len(STAGES)
    assert {p: p.stat().st_mtime_ns for p in (tiny/"data"/"runs"/"tiny").rglob("*")} == before


def test_the_site_is_published_and_a_pair_traced(tiny):
    distill(tiny, "publish", "tiny", "--to", "reports/example")
    site = tiny/"reports"/"example"
    for name in ("index.html", "cases.html", "lineage.html", "datacard.html", "summary.pdf"): assert (site/name).exists(), name
    assert sum(p.stat().st_size for p in site.rglob("*")) < 10 << 20
    pair = pd.read_parquet(tiny/"data"/"runs"/"tiny"/"03_preference"/"pairs.parquet").iloc[0]
    said = distill(tiny, "trace", pair["id"][:12])
    lineage = (site/"lineage.html").read_text(encoding="utf-8")
    for name in ("id", "variant_id", "blueprint_id", "seed_id", "golden_id", "failed_id", "item_id"): assert pair[name] in said and pair[name] in lineage, name


def test_a_run_is_compared_with_itself(tiny):
    said = distill(tiny, "compare", "tiny", "--to", "reports/compared.csv")
    total = json.loads((tiny/"reports"/"tiny"/"summary.json").read_text(encoding="utf-8"))["total"]
    table = pd.read_csv(tiny/"reports"/"compared.csv").set_index("subject")
    assert "Total" in said and table.loc["Total", ["n", "improved", "regressed"]].tolist() == [total[k] for k in ("n", "improved", "regressed")]
    same = distill(tiny, "compare", "tiny:base", "tiny:base")
    assert "No difference shown" in same and "+0.0 pp" in same


def test_an_estimate_bounds_what_was_called(tiny):
    said = distill(tiny, "estimate", "tiny")
    assert "US$ 0.00 expected, at most US$ 0.00" in said
    called = Counter(stage for stage in STAGES for row in mark(tiny, "tiny", stage)["models"].values() for _ in range(row["calls"]))
    for stage, n in called.items():
        assert n <= sum(int(line.split()[-2]) for line in said.splitlines() if line.startswith(stage)), stage # the column "calls max"


def test_damaged_weights_are_refused_by_name(tmp_path):
    root = farm(tmp_path)
    (root/"data"/"lab").unlink()
    for path in (CHECKOUT/"data"/"lab").rglob("*"):
        if path.is_dir(): continue
        copy = root/path.relative_to(CHECKOUT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes()
        copy.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if path.suffix == ".safetensors" else content)
    process = start(root, "run", "tiny", "--to", "00")
    said, _ = process.communicate()
    assert process.returncode == 1 and "model.safetensors has hash" in said and "Traceback" not in said
    assert not (root/"reports"/"tiny"/"00_seed.ipynb").exists() and not (root/"data"/"runs"/"tiny"/"00_seed.done.json").exists()


def test_kill_9_in_training_and_evaluation_changes_nothing(tiny):
    whole, table = made(tiny, "tiny"), json.loads((tiny/"reports"/"tiny"/"summary.json").read_text(encoding="utf-8"))
    for stage in STAGES[4:]: (tiny/"data"/"runs"/"tiny"/sorted(whole[stage])[0]).unlink() # so both have to be made again
    seconds = {stage: mark(tiny, "tiny", stage)["wall_s"] for stage in STAGES[4:]}
    trained = tiny/"data"/"runs"/"tiny"/"04_orpo"/"job"/"result.json" # there once training has ended, and before anything is handed on
    for stage, sign in ((STAGES[4], None), (STAGES[4], trained), (STAGES[5], None)): kill_in(tiny, "tiny", stage, seconds[stage], ["run", "tiny"], sign)
    distill(tiny, "run", "tiny")
    again = made(tiny, "tiny")
    assert json.loads((tiny/"reports"/"tiny"/"summary.json").read_text(encoding="utf-8"))["subjects"] == table["subjects"]
    weights = [name for name in whole["04_orpo"] if name.endswith(".safetensors")]
    assert weights and all(again["04_orpo"][name] == whole["04_orpo"][name] for name in weights) # the same seed, the same weights
    assert set(again["05_eda"]) == set(whole["05_eda"])
