"""The openai: client against a real OpenAI-compatible server: `transformers serve` with a tiny Qwen3 of random weights.

    python benchmarks/real_server.py [FOLDER]

The server runs the very weights and chat template that `hf:` runs in process, so its greedy answers have to be the same, with
thinking switched off and on. Prints one line of JSON; `check` gives it to other scripts. fastapi and uvicorn, which only the
server needs, are put into a throw-away environment if they are not installed here. No key, no GPU, about a minute.
"""
import importlib.util
import json
import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from distill.core.hf import CHATML, random_student
from distill.core.items import load_items
from distill.core.ledger import Ledger
from distill.core.models import load_model, respond
from distill.core.prompts import load_prompt, render_item

ROOT = Path(__file__).resolve().parents[1]
# as Qwen3's own template says it: an empty thought is written for the model when it shall not think
TEMPLATE = CHATML.replace("assistant\n{% endif %}",
                          "assistant\n{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}")


def server_python(folder: Path) -> str:
    "A Python that can serve: this one, or one made for it."
    if all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn")): return sys.executable
    subprocess.run([sys.executable, "-m", "venv", folder/"env"], check=True)
    python = str(folder/"env"/"bin"/"python")
    inside = subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True, capture_output=True, text=True)
    (Path(inside.stdout.strip())/"here.pth").write_text(sysconfig.get_path("purelib")) # transformers and torch from here
    got = subprocess.run([python, "-m", "pip", "install", "-q", "-c", ROOT/"constraints.txt", "fastapi", "uvicorn"], capture_output=True, text=True)
    if got.returncode: raise OSError(f"fastapi and uvicorn cannot be installed: {got.stderr.strip()[-200:]}")
    return python


def make_student(folder: Path, texts: list[str]) -> Path:
    "A tiny Qwen3 whose template knows `enable_thinking`."
    student = random_student(folder/"student", texts)
    template = student/"chat_template.jinja"
    if not template.exists(): raise OSError(f"{student} has no chat_template.jinja")
    template.write_text(TEMPLATE, encoding="utf-8")
    settings = json.loads((student/"generation_config.json").read_text(encoding="utf-8"))
    (student/"generation_config.json").write_text(json.dumps(settings | dict(do_sample=True)), encoding="utf-8") # as Qwen3's: else never sampled
    return student


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Serving:
    "`transformers serve` as a context manager."
    def __init__(self, python: str, student: Path, folder: Path):
        self.log, self.port = folder/"serve.log", free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.words = [python, "-m", "transformers.cli.transformers", "serve", str(student), "--device", "cpu", "--host", "127.0.0.1",
                      "--port", str(self.port)]

    def __enter__(self):
        with open(self.log, "w") as log:
            env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
            self.process = subprocess.Popen(self.words, stdout=log, stderr=subprocess.STDOUT, env=env)
        until = time.monotonic() + 180
        while time.monotonic() < until and self.process.poll() is None:
            try: return urllib.request.urlopen(f"{self.url}/health", timeout=5) and self
            except OSError: time.sleep(.3)
        self.__exit__()
        raise OSError(f"the server did not start: {self.log.read_text()[-300:]}")

    def __exit__(self, *_):
        self.process.terminate()
        try: self.process.wait(20)
        except subprocess.TimeoutExpired: self.process.kill(); self.process.wait()


def same(one, other) -> bool: # the server takes off the space before an answer
    return all(a == b for a, b in ((one.text.strip(), other.text.strip()), (one.finish_reason, other.finish_reason),
                                   (one.tokens_in, other.tokens_in), (one.tokens_out, other.tokens_out)))


def check(
    folder: Path, # where weights, ledger and log may lie
    n: int = 20, # items
) -> dict: # what was seen; `ok` is false with `why` where no server can run
    "Ask a real server, and the same weights in process."
    folder, started = Path(folder), time.monotonic()
    items = load_items(str(ROOT/"data"/"items"/"sample.csv"))[0][:n]
    prompt, short = load_prompt("solve-short"), dict(max_tokens=48)
    try:
        python, student = server_python(folder), make_student(folder, [render_item(item) for item in items])
        with Serving(python, student, folder) as server, Ledger(folder/"ledger.sqlite") as ledger:
            spec, asked = f"openai:{student}@{server.url}/v1", time.monotonic()
            served = {dials: respond(load_model(f"{spec}?concurrency=4&{dials}"), items, prompt, ledger, **short) for dials in ("thinking=0", "thinking=1")}
            sampled = respond(load_model(f"{spec}?concurrency=1"), items[:2], prompt, ledger, n_samples=3, temperature=1.0, **short)
            seconds = time.monotonic() - asked
            here = {dials: respond(load_model(f"hf:{student}?{dials}"), items, prompt, ledger, **short) for dials in served}
    except OSError as e: return dict(ok=False, why=str(e))
    pairs = [pair for dials in served for pair in zip(served[dials], here[dials])]
    agree = sum(same(*pair) for pair in pairs)
    thoughts = all(off.tokens_in > on.tokens_in for off, on in zip(*served.values())) # the empty thought is in the prompt
    drawn = [len({r.text for r in sampled[at:at + 3]}) for at in (0, 3)]
    answers = [*served["thinking=0"], *served["thinking=1"], *sampled]
    reasons = Counter(r.finish_reason for r in answers)
    return dict(ok=agree == len(pairs) and thoughts and min(drawn) > 1 and set(reasons) <= {"stop", "length"}, server="transformers serve",
                version=version("transformers"), client=f"openai {version('openai')}", items=len(items), answered=len(answers), reasons=dict(reasons),
                same_as_in_process=f"{agree}/{len(pairs)}", thinking_switch_seen=thoughts, samples_differ=min(drawn) > 1,
                tokens_in=sum(r.tokens_in for r in answers), tokens_out=sum(r.tokens_out for r in answers),
                seconds=round(seconds, 1), seconds_with_start=round(time.monotonic() - started, 1))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as tmp: found = check(Path(sys.argv[1] if len(sys.argv) > 1 else tmp))
    print(json.dumps(found, ensure_ascii=False))
    sys.exit(not found["ok"])
