"A root of its own for whole runs, and how to kill them."

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distill.core.files import STAGES

CHECKOUT = Path(__file__).resolve().parents[1]
SHARED = ("nbs", "settings.ini", "data/prompts", "data/lab", "data/items", "data/domains.json")


def farm(folder: Path) -> Path:
    "A root that reads the checkout's sources and has no runs."
    for name in SHARED:
        (folder/name).parent.mkdir(parents=True, exist_ok=True)
        (folder/name).symlink_to(CHECKOUT/name)
    return folder


def start(root: Path, *words: str) -> subprocess.Popen:
    env = {"OMP_NUM_THREADS": "1", **os.environ, "DISTILL_ROOT": str(root)}
    command = [sys.executable, "-m", "distill.cli", *words]
    return subprocess.Popen(command, cwd=root, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def distill(root: Path, *words: str) -> str:
    process = start(root, *words)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return said


def mark(root: Path, run: str, stage: str) -> dict:
    return json.loads((root/"data"/"runs"/run/f"{stage}.done.json").read_text(encoding="utf-8"))


def made(root: Path, run: str) -> dict[str, dict[str, str]]:
    "Stage → file that it handed on → hash, without what lies in a run's own folder name."
    return {stage: {name.split("/", 3)[3]: was for name, was in mark(root, run, stage)["outputs"].items() if name.startswith("data/")}
            for stage in STAGES if (root/"data"/"runs"/run/f"{stage}.done.json").exists()}


def kill_in(root: Path, run: str, stage: str, wall_s: float, words: list[str], sign: Path | None = None) -> None:
    "Start a run and kill -9 it at a random moment of a stage, or when a file appears."
    after = random.uniform(0, .9 * wall_s)
    print(f"kill -9 in {stage} " + (f"when {sign.name} is there" if sign else f"after {after:.2f} of {wall_s:.2f} s")) # pytest shows it if the test fails
    process = start(root, *words)
    for line in process.stdout:
        if re.match(rf"\s+{stage}\s+running", line): break
    else: pytest.fail(f"{stage} was not run")
    if sign:
        while not sign.exists() and process.poll() is None: time.sleep(.01)
        assert sign.exists(), f"{stage} ended without {sign.name}"
    else: time.sleep(after)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    half = [p for p in (root/"reports"/run).glob(f"{stage}*") if p.suffix in (".ipynb", ".html")]
    assert not half or (root/"data"/"runs"/run/f"{stage}.done.json").exists(), half
