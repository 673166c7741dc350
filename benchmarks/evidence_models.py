"""Reproduce every figure about clients, ledger and money: `make evidence NAME=models`, or some points: `… evidence_models.py 1 3`.

Prints a line a point with its figure and goal, and last one line of JSON. Nothing is asserted that was not run. No key and no network are
needed: every provider is the stand-in server of `distill.core.standin`, in a process of its own, asked by the providers' own client packages.
"""
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pandas as pd
from points import run_points

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/"tests"))
KEY = "AIzaPLANTED" + "x9Qw7" * 5 # no real key: what point 5 looks for
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "GEMINI_API_KEY": KEY, "OPENAI_API_KEY": KEY}
MODEL = "gemini-3-flash-preview"
# shares of an attempt's faults, then of a question's
STRIKES = dict(refused=.004, retry_after_s=1, error500=.02, html503=.02, stall=.01, torn=.02, drop=.01)
FATES = dict(blocked=.02, blocked_prompt=.02, cut=.02, empty=.02, bad_request=.01)
TOKENS = ("tokens_in", "tokens_out", "tokens_thinking", "tokens_cached")


def say(text: str): print(text, flush=True)


@contextmanager
def served(folder: Path, *words: str, **dials):
    "A stand-in in a process of its own; gives its URL and a function for its accounts."
    command = [sys.executable, "-m", "distill.core.standin", "--port", "0", "--log", str(folder/"paid.jsonl"), *words]
    process = subprocess.Popen([*command, *(f"{k}={v}" for k, v in dials.items())], cwd=ROOT, env=ENV, stdout=subprocess.PIPE, text=True)
    try:
        url = "http://" + process.stdout.readline().split("http://")[1].split(";")[0]
        def count() -> dict:
            with urlopen(f"{url}/count") as r: return json.load(r)
        yield url, count
    finally:
        process.terminate()
        process.wait()


CLIENT = """
import json, sys, time
from distill.core.items import load_items
from distill.core.ledger import Ledger
from distill.core.models import load_model, respond
from distill.core.prompts import load_prompt
spec, folder, n, more = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
items, _ = load_items(f"lab:pool?n={n}")
with Ledger(folder + "/ledger.sqlite") as ledger:
    model, start = load_model(spec), time.time()
    print("asking", flush=True)
    responses = respond(model, items, load_prompt("solve-short"), ledger, **more)
    wall = time.time() - start
    print(json.dumps(dict(wall=wall, items=len(items), outcomes=[[r.finish_reason, r.failure, r.answer] for r in responses], totals=ledger.totals())))
"""


def client(url: str, spec: str, folder: Path, n: int, **more) -> subprocess.Popen:
    "Let items be solved in a process that can be killed."
    command = [sys.executable, "-c", CLIENT, spec, str(folder), str(n), json.dumps(more)]
    return subprocess.Popen(command, cwd=ROOT, env=ENV | dict(GOOGLE_GEMINI_BASE_URL=url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen) -> dict:
    out, err = process.communicate()
    if process.returncode: raise RuntimeError(err[-400:])
    return json.loads(out.splitlines()[-1])


def typed(found: dict) -> bool:
    "Every item has an answer or a reason why there is none."
    known = {"stop", "length", "blocked", "invalid", "empty", "rate_limited", "unavailable", "bad_request", "auth"}
    return len(found["outcomes"]) == found["items"] and all(reason in known and (why or number) for reason, why, number in found["outcomes"])


def same_books(total: dict, count: dict) -> bool:
    "The ledger's sums are the server's."
    return total["calls"] == count["paid"] and all(total[name] == count[name] for name in TOKENS)


def point_1():
    "Faults of every kind: outcomes and throughput; then three kill -9: nothing is paid twice, and both accounts agree."
    with tempfile.TemporaryDirectory() as tmp:
        rpm, folder = 600, Path(tmp)
        with served(folder, rpm=rpm, latency_s=.2, thinking=8, cached=.2, seed=1, **STRIKES, **FATES) as (url, count):
            found = answer(client(url, f"gemini:{MODEL}?rpm={rpm}&concurrency=32&tries=8&timeout=1", folder, 1000))
            whole = count()
        # what the limit allows: so many requests a minute, except while the server had shut its quota
        share = (whole["admitted"] * 60 / rpm + whole["shut_s"]) / found["wall"]
        outcomes = Counter(reason for reason, *_ in found["outcomes"])
        say(f"   outcomes {dict(outcomes)}; the server also gave {whole['other']}")
        say(f"   {whole['admitted']} requests in {found['wall']:.1f} s at {rpm} a minute, busiest minute {whole['busiest_window']}, quota shut for {whole['shut_s']:.1f} s")
        agree = same_books(found["totals"][0], whole)
    killed = _killed()
    figure = (f"1,000 items in {len(outcomes)} typed outcomes, throughput {share:.1%} of what the limit allows; kill -9 at {killed['at']} paid calls: "
              f"{killed['paid_twice']} of {killed['paid']} calls paid twice ({killed['in_doubt']} were in flight and are in the ledger as in doubt; a provider may bill them); "
              f"ledger and server {'agree' if agree else 'DIFFER'} without kills and {'agree' if killed['agree'] else 'DIFFER'} with them "
              f"({killed['calls']} calls in the ledger, {killed['paid']} at the server); {whole['definition']}")
    return figure, typed(found) and killed["typed"] and share >= .95 and not whole["paid_twice"] and not killed["paid_twice"] and agree and killed["agree"]


def _killed(n: int = 1000, rpm: int = 600) -> dict:
    rng, at, in_doubt = random.Random(), [], 0
    from distill.core.ledger import Ledger
    with tempfile.TemporaryDirectory() as tmp, served(Path(tmp), latency_s=.2, thinking=8, seed=2, **STRIKES, **FATES) as (url, count):
        spec = f"gemini:{MODEL}?rpm={rpm}&concurrency=32&tries=8&timeout=1"
        for share in (.2, .5, .8):
            process = client(url, spec, Path(tmp), n)
            while count()["paid"] < share * n and process.poll() is None: time.sleep(.05)
            time.sleep(rng.uniform(0, .5))
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            at.append(count()["paid"])
            with Ledger(Path(tmp)/"ledger.sqlite") as ledger: in_doubt += len(ledger.in_doubt())
        found = answer(client(url, spec, Path(tmp), n))
        books = count()
        return dict(at=at, in_doubt=in_doubt, calls=found["totals"][0]["calls"], typed=typed(found), agree=same_books(found["totals"][0], books), **{k: books[k] for k in ("paid", "paid_twice")})


def point_2():
    "Google's and OpenAI's packages over HTTP, call by call and as a job; a real OpenAI-compatible server with a tiny student."
    lines, good = [], []
    with tempfile.TemporaryDirectory() as tmp, served(Path(tmp), thinking=4, batch_s=2) as (url, count):
        for name, spec, more in (("google-genai", f"gemini:{MODEL}?timeout=20", {}), ("google-genai, as a job", f"gemini:{MODEL}?timeout=20&batch=1", {}),
                                 ("openai", f"openai:Qwen/Qwen3-14B@{url}/v1?timeout=20&logprobs=1", {}),
                                 ("openai, n=4", f"openai:Qwen/Qwen3-14B@{url}/v1?timeout=20&n=1&thinking=1", dict(n_samples=4, temperature=.7, max_tokens=400))):
            (Path(tmp)/name).mkdir()
            before = count()["samples"]
            found = answer(client(url, spec, Path(tmp)/name, 40, **more))
            stopped = sum(reason == "stop" for reason, *_ in found["outcomes"])
            lines.append(f"{name} {stopped}/{len(found['outcomes'])}")
            good.append(stopped == len(found["outcomes"]) == count()["samples"] - before)
    line, ok = _serve()
    return "; ".join([*lines, line]), all(good) and ok


def _serve() -> tuple[str, bool]:
    "A server that is no stand-in: `transformers serve` with a small random Qwen3, against the same weights in process."
    from real_server import check
    with tempfile.TemporaryDirectory() as tmp: found = check(Path(tmp))
    if "why" in found: return f"transformers serve NOT RUN: {found['why']}", False
    return f"transformers serve {found['version']}, random Qwen3: {found['answered']} answers, {found['same_as_in_process']} greedy ones as in process", found["ok"]


def point_3(trials: int = 40):
    "Random prices, sizes, thinking, faults and caps: what the server counted never costs more than the cap; then what `estimate` said."
    from distill.core.ledger import BudgetReached, Ledger, Reply
    from distill.core.models import Request, ask, load_model
    from distill.core.prices import Price, cost
    from distill.core.records import Message
    from distill.core.standin import StandIn
    rng, over, reached, finished, twice, closest = random.Random(0), 0, 0, 0, 0, 0.0
    os.environ |= dict(GEMINI_API_KEY=KEY)
    for trial in range(trials):
        usd = sorted(10 ** rng.uniform(-3, 3) for _ in range(3)) # cached ≤ in ≤ out, up to 1,000 US$ a million
        faults = {name: rng.choice((0, .05, .1)) for name in ("error500", "torn", "drop", "blocked", "blocked_prompt", "cut", "empty", "bad_request")}
        requests = [Request((Message(role="user", content=f"물음 {i} " + "가나 x\n" * rng.randint(0, 400)),), max_tokens=rng.choice((1, 20, 300))) for i in range(25)]
        text = "나는 답한다. " * rng.randint(0, 60)
        with StandIn(lambda request: text, thinking=rng.choice((0, 5, 200)), cached=rng.choice((0, .5)), seed=trial, **faults) as server, tempfile.TemporaryDirectory() as tmp:
            os.environ["GOOGLE_GEMINI_BASE_URL"] = server.url
            spec, prices = f"gemini:{MODEL}?concurrency={rng.choice((1, 4, 16))}&timeout=2&tries=3", f"{MODEL}={usd[1]}/{usd[0]}/{usd[2]}"
            def billed() -> float:
                books = server.count()
                return cost(Price(usd[1], usd[0], usd[2]), Reply("", **{name: books[name] for name in TOKENS}))
            cap = 10 ** rng.uniform(-1.5, .3) * 25 * (900 * usd[1] + 150 * usd[2]) / 1e6
            with Ledger(Path(tmp)/"ledger.sqlite", run="trial", budget_usd=cap, prices=prices) as ledger:
                try: ask(load_model(spec), requests, ledger)
                except BudgetReached: reached += 1
            over += billed() > cap * (1 + 1e-9)
            closest = max(closest, billed() / cap)
            with Ledger(Path(tmp)/"ledger.sqlite", run="trial", budget_usd=cap * 1e6, prices=prices) as ledger:
                replies = ask(load_model(spec), requests, ledger)
                finished += len(replies) == len(requests) and abs(ledger.spent()[0] - billed()) <= 1e-9 + 1e-6 * billed()
            twice += server.count()["paid_twice"]
    line, off = _estimate()
    figure = (f"{trials} trials: cap crossed {over} times (closest {closest:.1%} of it), {reached} stopped at the cap, {finished} finished with a higher one "
              f"and agree with the server to the cent, {twice} calls paid twice; {line}")
    return figure, not over and finished == trials and not twice and reached > trials / 5 and off <= .2


def _estimate() -> tuple[str, float]:
    "`distill estimate`, then the run, then what the server counted; the second run has other items and knows the model's habits from the first."
    from distill.core.ledger import Reply
    from distill.core.prices import cost, price_of
    from farms import farm
    said, before = {}, 0.0
    table = pd.read_csv(ROOT/"data/items/sample.csv", dtype=str, keep_default_na=False)
    prices = f"{MODEL}=500/500/3000" # a thousand times the real ones, so that cents can be read
    with tempfile.TemporaryDirectory() as tmp, served(Path(tmp), "--items", "data/items/sample.csv", thinking=20) as (url, count):
        root = farm(Path(tmp)/"root")
        for name, part in (("first", table.iloc[::2]), ("second", table.iloc[1::2])):
            (root/"data"/"more").mkdir(exist_ok=True)
            part.to_csv(root/"data"/"more"/f"{name}.csv", index=False)
            sets = [f"items=data/more/{name}.csv", f"teacher=gemini:{MODEL}", f"student=sim:student?accuracy=0.3&items=data/more/{name}.csv",
                    f"prices={prices}", "max_seeds=6", "eval_share=0.2", "temperature=0.7", "teacher_samples=2"]
            words = ["sim", *(word for one in sets for word in ("--set", one))]
            expected = _expected(_distill(root, url, "estimate", *words))
            _distill(root, url, "run", *words, "--run", name, "--to", "03")
            books = count()
            now = cost(price_of("gemini", MODEL, prices=prices), Reply("", **{t: books[t] for t in TOKENS}))
            said[name], before = (expected, now - before), now
    text = "; ".join(f"{name} run: US$ {expected:.2f} estimated, {actual:.2f} actual ({expected / actual - 1:+.0%})" for name, (expected, actual) in said.items())
    expected, actual = said["second"]
    return f"estimate at 1,000 times the real price, {text}", abs(expected / actual - 1)


def _expected(out: str) -> float:
    "What an estimate expects of the teacher in the stages that are run, US$."
    return sum(float(line.split()[-4].replace(",", "")) for line in out.splitlines() if line[:2] in ("00", "02") and MODEL in line)


def _distill(root: Path, url: str, *words: str, ok: bool = True) -> str:
    done = subprocess.run([sys.executable, "-m", "distill.cli", *words], cwd=root, text=True, capture_output=True,
                          env=ENV | dict(DISTILL_ROOT=str(root), GOOGLE_GEMINI_BASE_URL=url))
    if ok and done.returncode: raise RuntimeError(f"distill {' '.join(words)}: {(done.stdout + done.stderr)[-400:]}")
    return done.stdout + done.stderr


def point_4():
    "Calls per second on the same stand-in, in one run."
    import throughput
    found = throughput.main()
    rates = ", ".join(f"{name} {rate:.0f}" for name, rate in found["calls_per_s"].items())
    ratios = ", ".join(f"{name} {ratio:g}" for name, ratio in found["distill_against"].items())
    busy = ", ".join(f"{name} {ms:g}" for name, ms in found["cpu_ms"].items())
    return f"calls/s: {rates}; ours through google-genai as a ratio to each: {ratios}; ms of processor a call: {busy}", len(rates) >= 4


def point_5():
    "A planted key, a server that repeats keys in its errors, stages 00–03 with faults and one with a wrong key: every file, ledger and line is searched."
    from farms import farm
    items, texts, files = "data/items/sample.csv", [], []
    with tempfile.TemporaryDirectory() as tmp, served(Path(tmp), "--items", items, error500=.05, torn=.03, broken=.05, bad_request=.03, thinking=5) as (url, count), \
            served(Path(tmp)/"wrong", keys="another") as (wrong, _):
        root = farm(Path(tmp)/"root")
        words = ["sim", "--set", f"teacher=gemini:{MODEL}?timeout=5", "--set", f"student=openai:stand-in@{url}/v1", "--set", "max_seeds=5", "--to", "03"]
        texts.append(_distill(root, url, "run", *words, "--run", "key"))
        paid = count()["paid"]
        for spec in (f"teacher=gemini:{MODEL}?thinking=high", f"teacher=openai:stand-in@{wrong}/v1"):
            texts.append(_distill(root, wrong, "run", *words, "--set", spec, "--run", "wrong", ok=False))
        files = [p for p in root.rglob("*") if p.is_file() and not p.is_symlink()]
        found = [str(p.relative_to(root)) for p in files if KEY.encode() in p.read_bytes()]
    refused = sum("API_KEY" in text for text in texts[1:])
    leaked = sum(KEY in text for text in texts)
    return (f"{paid} paid calls, {len(files)} files and {sum(map(len, texts)):,} letters of output searched: the key is in {len(found)} files and {leaked} outputs; "
            f"{refused} of 2 runs with a wrong key name the variable to set"), not found and not leaked and refused == 2 and paid > 50


GOALS = {"1": "all typed, ≥ 95 % of what the limit allows, 0 paid twice after three kill -9, ledger = server's count",
         "2": "all answered over real HTTP by google-genai, openai and a real OpenAI-compatible server", "3": "cap never crossed; estimate within ±20 % of actual",
         "4": "calls/s against a plain loop (and Curator where CURATOR_PYTHON names one) as a ratio", "5": "the key nowhere"}

if __name__ == "__main__": run_points({n: globals()[f"point_{n}"] for n in GOALS}, GOALS, sys.argv[1:])
