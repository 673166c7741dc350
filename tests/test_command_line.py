"Bad input to the command line: one clear sentence, an exit code that is not 0, nothing half-written."

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FIRST = 'from distill.core.files import stage_dir, write_json\nwrite_json(list(range(n)), stage_dir(run, "00_seed")/"items.json")'
SECOND = """from distill.core.files import inputs, read_json
if read_json(inputs(run, "00_seed", "items.json")/"items.json") == [0]: raise ValueError("row 0:\\nno answer")"""
PARAMETERS = 'run: str = "tiny"  # name of the run\nn: int = 2  # rows, 1 or more\nmax_seeds: int = 8  # seeds at most'


def toy_root(folder: Path) -> Path:
    "A checkout with two small stages and two profiles."
    (folder/"nbs").mkdir(parents=True)
    for stage, code in (("00_seed", FIRST), ("01_hard_negatives", SECOND)):
        cells = [dict(cell_type="markdown", id="a", metadata={}, source=f"# {stage} · A claim"),
                 dict(cell_type="code", id="b", metadata={"tags": ["parameters"]}, outputs=[], execution_count=None, source=PARAMETERS),
                 dict(cell_type="code", id="c", metadata={}, outputs=[], execution_count=None, source=code)]
        kernel = dict(kernelspec=dict(name="python3", display_name="python3", language="python"))
        (folder/"nbs"/f"{stage}.ipynb").write_text(json.dumps(dict(cells=cells, metadata=kernel, nbformat=4, nbformat_minor=5)))
    (folder/"settings.ini").write_text("[tiny]\n[big]\nn = 50\n")
    return folder


def distill(root: Path, *words: str) -> subprocess.CompletedProcess:
    env = {**os.environ, "DISTILL_ROOT": str(root)}
    return subprocess.run([sys.executable, "-m", "distill.cli", *words], cwd=root, env=env, capture_output=True, text=True)


def fails(root: Path, *words: str) -> str:
    "Run a command that has to fail; return its one sentence."
    done = distill(root, *words)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


def refused(root: Path, *words: str) -> str:
    "The same for a command that has to be refused before it writes anything."
    before = {p for p in root.rglob("*") if p.is_file()}
    said = fails(root, *words)
    assert {p.suffix for p in root.rglob("*") if p.is_file() and p not in before} <= {".lock"} # nothing half-written
    return said


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    "A toy checkout in which stage 00 is finished."
    root = toy_root(tmp_path_factory.mktemp("toy")/"root")
    assert distill(root, "run", "tiny", "--to", "00").returncode == 0
    return root


def test_a_wrong_profile_is_answered_with_those_that_exist(tmp_path):
    assert "no profile 'lap' in settings.ini; there are: tiny, big" in refused(toy_root(tmp_path/"r"), "run", "lap")


@pytest.mark.parametrize("words, sentence", [
    (["--set", "max_sed=3"], "no stage has a parameter 'max_sed'; the nearest is 'max_seeds'"),
    (["--set", "n=many"], "n = 'many': int (rows, 1 or more) is wanted"),
    (["--set", "n"], "name=value is wanted"),
    (["--set", "run=x"], "given by --run"),
    (["--from", "9"], "no stage '9'; there are: 00_seed"),
    (["--from", "01", "--to", "00"], "--from 01 comes after --to 00"),
    (["--run", "../x"], "not a plain name"),
    (["--to", "02"], "02_blueprint.ipynb is missing")])
def test_a_wrong_word_is_named_with_the_right_one(tmp_path, words, sentence):
    assert sentence in refused(toy_root(tmp_path/"r"), "run", "tiny", "--to", "01", *words)


def test_an_unreadable_settings_file_is_named(tmp_path):
    root = toy_root(tmp_path/"r")
    (root/"settings.ini").write_text("n = 3\n")
    assert "settings.ini" in refused(root, "run", "tiny")
    (root/"settings.ini").unlink()
    assert "settings.ini is missing" in refused(root, "run", "tiny")


def test_an_unknown_option_is_a_usage_error(tmp_path):
    done = distill(toy_root(tmp_path/"r"), "run", "--form", "02")
    assert done.returncode == 2 and "--form" in done.stderr and "Traceback" not in done.stderr


def test_a_missing_artefact_of_an_earlier_stage(tmp_path):
    assert "00_seed of run 'tiny' is not finished; make it again with `distill run tiny --run tiny --to 00`" in \
        refused(toy_root(tmp_path/"r"), "run", "tiny", "--from", "01", "--to", "01")


@pytest.mark.parametrize("harm, word", [(lambda p: p.unlink(), "is missing"), (lambda p: p.write_text("[0,"), "is damaged")])
def test_a_lost_or_damaged_artefact_of_an_earlier_stage(done, harm, word):
    items = done/"data"/"runs"/"tiny"/"00_seed"/"items.json"
    whole = items.read_text()
    harm(items)
    assert f"items.json {word}" in refused(done, "run", "tiny", "--from", "01", "--to", "01")
    items.write_text(whole)


def test_a_stage_that_fails_says_its_last_exception(done):
    words = ["run", "tiny", "--to", "01", "--run", "one"]
    assert "01_hard_negatives stopped in cell [3]: row 0: no answer. Look into" in fails(done, *words, "--set", "n=1")
    report = done/"reports"/"one"
    assert (report/"01_hard_negatives.failed.ipynb").exists() and not (report/"01_hard_negatives.ipynb").exists()
    assert distill(done, *words).returncode == 0 # mended: goes on, and the failed notebook is gone
    assert (report/"01_hard_negatives.ipynb").exists() and not (report/"01_hard_negatives.failed.ipynb").exists()


@pytest.mark.parametrize("block", [lambda runs: runs.write_text("a file"), lambda runs: runs.symlink_to("/proc/1")])
def test_a_disk_that_cannot_be_written(tmp_path, block):
    root = toy_root(tmp_path/"r")
    (root/"data").mkdir()
    block(root/"data"/"runs")
    assert "cannot be written" in refused(root, "run", "tiny", "--to", "00")
    assert not (root/"reports").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    root = toy_root(tmp_path/"r")
    root.chmod(0o555)
    try: assert "cannot be written" in refused(root, "run", "tiny", "--to", "00")
    finally: root.chmod(0o755)


def test_publishing_and_tracing_what_is_not_there(tmp_path):
    root = toy_root(tmp_path/"r")
    assert "holds no report" in refused(root, "publish", "nothing")
    assert "no run has a pair whose id begins with 'abc'" in refused(root, "trace", "abc")
    assert "pairs.parquet is missing" in refused(root, "trace", "abc", "--run", "x")
    assert "run 'x' has no 05_eda/summary.json" in refused(root, "compare", "x")
    assert "after the run stands one of base, tuned, teacher" in refused(root, "compare", "x:best", "y")


def test_every_command_explains_itself():
    for command in ([], ["run"], ["doctor"], ["estimate"], ["trace"], ["compare"], ["publish"]):
        done = subprocess.run([sys.executable, "-m", "distill.cli", *command, "--help"], capture_output=True, text=True)
        assert done.returncode == 0 and "usage: distill" in done.stdout and len(done.stdout.splitlines()) >= 5


def test_doctor_never_shows_a_key():
    env = {**os.environ, "GEMINI_API_KEY": "a-key-nobody-must-see", "HF_TOKEN": ""}
    done = subprocess.run([sys.executable, "-m", "distill.cli", "doctor"], env=env, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert "a-key-nobody-must-see" not in said and "GEMINI_API_KEY: set" in said and "HF_TOKEN: not set" in said
    assert all(f" {name} " in said for name in ("python", "packages", "memory", "disk", "torch", "weights", "font")), said
