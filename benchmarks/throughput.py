"""Calls per second of our client against a plain asyncio loop, on the same stand-in server, in one run: `python benchmarks/throughput.py [calls]`.

Every contestant sends the same questions to a fresh server, 32 at once, 50 ms a call. A plain loop keeps nothing: no ledger, no retry, no
typed outcome, no budget; it is the upper bound. Prints one line a contestant and last one line of JSON with the ratios.
"""
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[1]
AT_ONCE, LATENCY = 32, .05
MODEL = "gemini-3-flash-preview"


def server(*dials: str) -> tuple[subprocess.Popen, str]:
    "Start the stand-in as a process of its own."
    process = subprocess.Popen([sys.executable, "-m", "distill.core.standin", "--port", "0", "--plain", f"latency_s={LATENCY}", *dials],
                               cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return process, "http://" + process.stdout.readline().split("http://")[1].split(";")[0]


def texts(n: int) -> list[str]: return [f"[지문]\n{'가나다라 ' * 100}\n\n[질문]\n{i}번째 물음" for i in range(n)]
def body(text: str) -> dict: return dict(contents=[dict(role="user", parts=[dict(text=text)])], generationConfig=dict(temperature=0, maxOutputTokens=512))


async def plain(n: int, post) -> None:
    "Ask with a semaphore, and nothing else."
    room = asyncio.Semaphore(AT_ONCE)
    async def one(text):
        async with room: return (await post(text))["candidates"][0]["content"]["parts"][0]["text"]
    await asyncio.gather(*map(one, texts(n)))


def by_aiohttp(n: int, url: str):
    import aiohttp
    async def run():
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session:
            async def post(text):
                async with session.post(f"{url}/v1beta/models/{MODEL}:generateContent", json=body(text), headers={"x-goog-api-key": "any"}) as r: return await r.json()
            await plain(n, post)
    asyncio.run(run())


def by_httpx(n: int, url: str):
    import httpx
    async def run():
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=AT_ONCE)) as client:
            async def post(text):
                return (await client.post(f"{url}/v1beta/models/{MODEL}:generateContent", json=body(text), headers={"x-goog-api-key": "any"})).json()
            await plain(n, post)
    asyncio.run(run())


def by_google(n: int, url: str):
    "Google's own package in a plain loop."
    import httpx2
    from google.genai import Client, types
    args = dict(transport=httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)))
    client = Client(api_key="any", http_options=types.HttpOptions(base_url=url, async_client_args=args))
    config = types.GenerateContentConfig(temperature=0, max_output_tokens=512)
    async def post(text):
        response = await client.aio.models.generate_content(model=MODEL, contents=text, config=config)
        return dict(candidates=[dict(content=dict(parts=[dict(text=response.text)]))])
    asyncio.run(plain(n, post))


def by_distill(n: int, url: str): ask_ours(n, url, f"gemini:{MODEL}?concurrency={AT_ONCE}")
def by_distill_openai(n: int, url: str): ask_ours(n, url, f"openai:stand-in@{url}/v1?concurrency={AT_ONCE}")


def ask_ours(n: int, url: str, spec: str):
    "Our clients: ledger, limits, outcomes and all."
    from distill.core.ledger import Ledger
    from distill.core.models import Request, ask, load_model
    from distill.core.records import Message
    os.environ |= dict(GEMINI_API_KEY="any", GOOGLE_GEMINI_BASE_URL=url)
    with tempfile.TemporaryDirectory() as tmp, Ledger(Path(tmp)/"ledger.sqlite") as ledger:
        replies = ask(load_model(spec), [Request((Message(role="user", content=t),)) for t in texts(n)], ledger)
        assert all(reply.finish_reason == "stop" for reply in replies)


CURATOR = """
import importlib.util, os, sys, time
from pathlib import Path
# its token counter wants a file from the network, which litellm (that it brings along) holds a copy of
os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(importlib.util.find_spec("litellm").origin).parent/"litellm_core_utils"/"tokenizers")
from bespokelabs import curator
n, url = int(sys.argv[1]), sys.argv[2]
texts = [f"[지문]\\n{'가나다라 ' * 100}\\n\\n[질문]\\n{i}번째 물음" for i in range(n)]
model = curator.LLM(model_name="stand-in", backend="openai", backend_params=dict(base_url=url + "/v1", api_key="any",
    max_requests_per_minute=10**7, max_tokens_per_minute=10**10, max_concurrent_requests=%d, max_retries=0))
start = time.time()
model(texts)
print("SECONDS", time.time() - start)
""" % AT_ONCE


def by_curator(n: int, url: str) -> float:
    "Bespoke Curator in an environment of its own, named by CURATOR_PYTHON; its OpenAI back-end on the stand-in's other wire."
    env = os.environ | dict(OPENAI_API_KEY="any", TELEMETRY_ENABLED="false", CURATOR_CACHE_DIR=tempfile.mkdtemp(), CURATOR_DISABLE_RICH_DISPLAY="1")
    done = subprocess.run([os.environ["CURATOR_PYTHON"], "-c", CURATOR, str(n), url], env=env, capture_output=True, text=True, timeout=300)
    found = [line for line in done.stdout.splitlines() if line.startswith("SECONDS")]
    if not found: raise RuntimeError(f"curator failed: {(done.stderr or done.stdout)[-300:]}")
    return float(found[0].split()[1])


def measure(contestant, n: int, rounds: int = 3) -> tuple[float, float]:
    "Calls per second and milliseconds of processor per call: the best of some rounds, each on a fresh server."
    best, least = 0.0, float("inf")
    for _ in range(rounds):
        process, url = server()
        try:
            start, busy = time.time(), spent()
            seconds = contestant(n, url) or time.time() - start
            least = min(least, (spent() - busy) * 1000 / n)
            with urlopen(f"{url}/count") as r: count = json.load(r)
            assert count["paid"] == n and not count["paid_twice"], f"{contestant.__name__}: {count['paid']} of {n} answered"
            best = max(best, n / seconds)
        finally:
            process.terminate()
            process.wait()
    return best, least


def spent() -> float:
    "Seconds of processor that this process and its ended children took; the servers are still running."
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def main(n: int = 600) -> dict:
    contestants = [by_aiohttp, by_httpx, by_google, by_distill, by_distill_openai] + ([by_curator] if os.environ.get("CURATOR_PYTHON") else [])
    warm, url = server()
    for contestant in contestants[:5]: contestant(20, url) # imports are not measured
    warm.terminate(); warm.wait()
    rates, busy = {}, {}
    for contestant in contestants:
        name = contestant.__name__[3:]
        rates[name], busy[name] = measure(contestant, n)
        if name == "curator": busy.pop(name) # its process also imports it
        print(f"{name:14} {rates[name]:6.0f} calls/s" + (f", {busy[name]:.1f} ms of processor a call" if name in busy else ""), flush=True)
    ratios = {name: round(rates["distill"] / rate, 2) for name, rate in rates.items() if name != "distill"}
    found = dict(calls_per_s={k: round(v, 1) for k, v in rates.items()}, distill_against=ratios, cpu_ms={k: round(v, 2) for k, v in busy.items()}, calls=n, at_once=AT_ONCE, latency_s=LATENCY, bound=AT_ONCE/LATENCY)
    print(json.dumps(found))
    return found


if __name__ == "__main__": main(*map(int, sys.argv[1:]))
