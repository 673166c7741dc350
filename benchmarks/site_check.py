"""Publish a run whose items and answers are hostile, and open every page of it in a browser: `python benchmarks/site_check.py [FOLDER] [SITE …]`.

The run is a real one: items that hold HTML, Markdown, LaTeX, right-to-left text, bidi controls and endless words go through all six stages
(simulated teacher and student, a small random Qwen3 for 04 and 05). Because that student answers noise, some of its stored answers are
replaced by hostile ones before publishing. Every page is opened from its file in headless Chromium, offline, at 1280 and 390 px. FOLDER keeps
the run (its stages are skipped the next time) and the screenshots. Each SITE (a published folder) is opened in the same way.
Prints a line a page, and last one line of JSON. Where there is no browser it says so and tests nothing.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
RUN = "site-check"
SHARED = ("nbs", "settings.ini", "data/prompts", "data/lab", "data/items", "data/domains.json")
HOSTILE = {
    "script": "<script>window.ran=1;alert(1)</script>", "handler": '<img src=x onerror="window.ran=2"><b data-hostile>굵게</b>',
    "closing": "</textarea></script></style></title><svg onload=window.ran=3>", "entity": "&lt;i&gt; &amp;amp; &#60;u&#62;",
    "markdown": "**굵게** `코드` [링크](https://hostile.example/a) ![그림](https://hostile.example/b.png)",
    "latex": r"$\frac{1}{2}$와 \(x^2\)과 $$y$$", "template": "{{ 7 * 7 }}{% raw %}", "rtl": "שלום עולם 그리고 العربية",
    "bidi": "앞 \u202eabc 뒤집힘 \u2067안\u2069 끝", "long": "가나다라" * 60 + "A" * 200}
WIDTHS = {1280: "en-US", 390: "ko-KR"} # px, and the browser's language


def say(text: str): print(text, flush=True)


def hostile_items(n: int = 48) -> list[dict]:
    "Items of the bank's shape, each with one hostile text in every place."
    rows, names = [], list(HOSTILE)
    for k in range(n):
        bad, subject = HOSTILE[names[k % len(names)]], ("국어", "생윤", "윤사", "정법", "사문")[k % 5]
        words = [f"{w}{k}" for w in ("강물", "바람", "등불", "돌담", "새벽")]
        rows.append(dict(subject=subject, domain=f"분야{k % 7} {bad[:40]}", licence="CC BY 4.0", answer=k % 5 + 1, source=f"hostile {k}",
                         passage=f"{words[0]}에 대한 {k}번째 글은 {bad} 라고 적었다. 그러나 글쓴이는 {words[k % 5]}을 가장 무겁게 여겼다. 둘은 서로 다르다.",
                         view=f"ㄱ. {words[1]}과 {bad}", question=f"{k}번째 글의 글쓴이가 무겁게 여긴 것은? {bad}",
                         choices=[f"{w} {bad}" if j == 0 else w for j, w in enumerate(words)]))
    return rows


def make_run(root: Path) -> str:
    "Run the hostile items through all stages; '' or what went wrong."
    for name in SHARED:
        (root/name).parent.mkdir(parents=True, exist_ok=True)
        if not (root/name).exists(): (root/name).symlink_to(ROOT/name)
    items = root/"hostile.jsonl"
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in hostile_items())
    if not items.exists() or items.read_text(encoding="utf-8") != text: items.write_text(text, encoding="utf-8")
    student = root/"data"/"models"/"random-student"
    if not (student/"config.json").exists():
        from distill.core.hf import random_student
        random_student(student, text.splitlines())
    words = ["run", "sim", "--run", RUN, "--set", "items=hostile.jsonl", "--set", "max_length=4096"]
    for more in (["--to", "03"], ["--from", "04", "--set", "student=hf:data/models/random-student", "--set", "max_tokens=32"]):
        code, out = distill(root, *words, *more)
        if code: return out[-500:]
    return ""


def distill(root: Path, *words: str) -> tuple[int, str]:
    env = {"OMP_NUM_THREADS": "1", **os.environ, "DISTILL_ROOT": str(root), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-m", "distill.cli", *words], cwd=root, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def worsen(data: Path):
    "Put hostile answers, right ones and wrong ones, in the place of the first answers; give the model a card that is hostile too."
    from distill.core.records import Item, Response, read_table, write_table
    items = {i.id: i for i in read_table(data/"00_seed"/"eval.parquet", Item) if i.answer}
    for side, shift in (("base", 0), ("tuned", 1)):
        path, rows = data/"05_eda"/f"{side}.parquet", []
        for k, r in enumerate(read_table(data/"05_eda"/f"{side}.parquet", Response)):
            key, bad = items[r.item_id].answer, list(HOSTILE.values())[k % len(HOSTILE)]
            right = (k + shift) % 2 == 0 # so that some went wrong and some right
            rows.append(r.model_copy(update=dict(text=f"1. {side} {bad}\n정답: …", answer=key if right else key % 4 + 1, failure="")))
        write_table(rows, path)
    card = data/"04_orpo"/"README.md"
    if not card.exists(): card.write_text("---\nlicense: apache-2.0\n---\n# Adapter\n\n" + "\n\n".join(HOSTILE.values()), encoding="utf-8")


# Letters are compared with boxes in the scripts of the items; what else the random student babbles, this machine need not have a font for.
# The smallest label of a figure has 11 points (core/plots); saved figures have 160 dots to the inch, those in notebooks 100.
LOOK = """() => {
  const seen = [], small = [], unsafe = [], turned = [], wide = document.documentElement.scrollWidth, inner = document.documentElement.clientWidth;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode, parent = node.parentElement, text = node.nodeValue;
    if (!text.trim() || parent.closest("script,style,noscript,option") || !parent.getClientRects().length) continue;
    seen.push(text);
    const size = parseFloat(getComputedStyle(parent).fontSize);
    if (size < 11) small.push(size + " px: " + text.trim().slice(0, 30));
    if (/[\\u202a-\\u202e\\u2066-\\u2069]/.test(text)) {
      let up = parent, kept = false;
      while (up && up.tagName !== "MAIN" && !kept) { kept = /isolate|plaintext/.test(getComputedStyle(up).unicodeBidi); up = up.parentElement; }
      if (!kept) turned.push(text.trim().slice(0, 40));
    }
  }
  for (const img of document.images) {
    const inch = /figures\\//.test(img.getAttribute("src")) || img.closest(".shot") ? 160 : 100, label = 11 / 72 * inch * img.getBoundingClientRect().width / img.naturalWidth;
    if (!img.naturalWidth) small.push("no picture: " + img.getAttribute("src").slice(0, 40));
    else if (img.naturalWidth > 50 && label < 11) small.push(label.toFixed(1) + " px in a picture of " + img.naturalWidth + " px");
  }
  for (const one of document.querySelectorAll("[data-hostile],[onerror],[onload],iframe,object,embed,form,a[href*='hostile.example'],img[src*='hostile.example'],a[href^='javascript:']"))
    unsafe.push(one.outerHTML.slice(0, 80));
  const pen = document.createElement("canvas").getContext("2d", {willReadFrequently: true}), font = getComputedStyle(document.body).fontFamily;
  const drawn = c => { pen.clearRect(0, 0, 40, 40); pen.font = "24px " + font; pen.fillText(c, 4, 30); return pen.getImageData(0, 0, 40, 40).data.join(); };
  pen.canvas.width = pen.canvas.height = 40;
  const boxes = new Set(["\\u{10fff0}", "\\u{e0fff}", "\\u0378"].map(drawn));
  const letters = [...new Set(seen.join(""))].filter(c => /[\\p{Script=Hangul}\\p{Script=Latin}\\p{Script=Greek}\\p{Script=Hebrew}\\p{Script=Arabic}\\p{N}\\p{P}\\p{Sm}]/u.test(c));
  return {text: seen.join("\\n"), small, unsafe, turned, overflow: wide - inner, ran: window.ran || 0, tofu: letters.filter(c => boxes.has(drawn(c))).join(""),
          links: [...document.links].map(a => a.getAttribute("href")), ids: [...document.querySelectorAll("[id]")].map(e => e.id),
          lang: document.documentElement.lang, title: document.title};
}"""


def dead_links(page: Path, links: list[str], ids: dict[str, set[str]]) -> list[str]:
    "Links that lead to no file or to no place on a page."
    dead = []
    for link in links:
        parts = urlsplit(link)
        if parts.scheme in ("http", "https"): continue # to the web, where nothing is asked until somebody follows it
        target, anchor = page.parent/unquote(parts.path) if parts.path else page, unquote(parts.fragment)
        if parts.scheme or not target.exists(): dead.append(link)
        elif anchor and not anchor.startswith("pair=") and anchor not in ids.get(target.name, {anchor}): dead.append(link)
    return dead


def use_lineage(tab, n: int = 60) -> list[str]:
    "Choose pairs as a reader does, and search; what went wrong."
    faults, pairs = [], tab.eval_on_selector_all("#list a", "links => links.map(a => a.getAttribute('href'))")
    if not pairs: return ["the list of pairs is empty"]
    shown = []
    for link in pairs[:n]:
        tab.click(f'#list a[href="{link}"]')
        try: tab.wait_for_function("id => { const c = document.querySelector('#chain code'); return c && c.textContent === id }", arg=link[6:], timeout=5000)
        except Exception: faults.append(f"{link} shows no chain"); continue
        if tab.locator("#chain section").count() != 7: faults.append(f"{link} shows {tab.locator('#chain section').count()} records")
        shown.append(tab.evaluate("() => [...document.querySelectorAll('#chain dd')].map(e => e.textContent).join('\\n')"))
    tab.fill("#search", pairs[-1][6:])
    if tab.locator("#list a").count() != 1: faults.append("the search for one id finds another number of pairs")
    tab.fill("#search", "")
    tab.select_option("#subject", index=1)
    found, chosen = tab.locator("#list a").count(), tab.input_value("#subject")
    if not 0 < found <= len(pairs) or any(chosen not in text for text in tab.locator("#list a .soft").all_text_contents()): faults.append("the filter by subject fails")
    tab.select_option("#subject", index=0)
    tab.evaluate("texts => window.chains = texts", "\n".join(shown))
    return faults


def watch(tab) -> tuple[list[str], list[str]]:
    "Note what a tab says (dialogs, errors, what its policy forbade) and what it asks for elsewhere."
    said, asked = [], []
    tab.on("dialog", lambda d: (said.append(f"dialog {d.message[:40]}"), d.dismiss()))
    tab.on("request", lambda r: asked.append(r.url[:100]) if not r.url.startswith(("file:", "data:")) else None)
    tab.on("pageerror", lambda e: said.append(f"error {str(e)[:80]}"))
    tab.on("console", lambda m: said.append(m.text[:100]) if m.type == "error" else None)
    return said, asked


def look_at(browser, site: Path, shots: Path | None, held: set[str]) -> list[dict]:
    "Open every page of a site at both widths."
    pages, rows, ids = sorted(site.glob("*.html")), [], {}
    for width, language in WIDTHS.items():
        context = browser.new_context(viewport=dict(width=width, height=900), locale=language, offline=True, reduced_motion="reduce")
        for path in pages:
            tab = context.new_page()
            said, asked = watch(tab)
            tab.goto(path.as_uri())
            used = use_lineage(tab) if path.name == "lineage.html" else []
            seen = tab.evaluate(LOOK)
            ids[path.name] = set(seen["ids"])
            text = seen.pop("text") + (tab.evaluate("() => window.chains || ''"))
            faults = dict(scripts=["a hostile script ran"] * bool(seen["ran"]) + said, requests=asked, elements=seen["unsafe"], turned=seen["turned"], used=used,
                          small=seen["small"], overflow=[f"{seen['overflow']} px too wide"] * (seen["overflow"] > 0), boxes=[seen["tofu"]] * bool(seen["tofu"]),
                          language=[f"lang {seen['lang']} for {language}"] * (seen["lang"] != language[:2]))
            verbatim = [name for name, bad in HOSTILE.items() if " ".join(bad.split()) in " ".join(text.split())]
            wanted = held if path.name == "lineage.html" else HOSTILE if held and path.name == "cases.html" else ()
            faults["verbatim"] = [f"{name} is not shown as it is" for name in wanted if name not in verbatim]
            rows.append(dict(page=path.name, width=width, shown=len(verbatim), links=seen["links"], faults={k: v for k, v in faults.items() if v}))
            if shots:
                shots.mkdir(parents=True, exist_ok=True)
                tab.screenshot(path=str(shots/f"{path.stem}-{width}.png"), full_page=path.name not in ("lineage.html",) and not path.name[0].isdigit())
            tab.close()
        context.close()
    for row in rows:
        dead = dead_links(site/row["page"], row.pop("links"), ids)
        if dead: row["faults"]["links"] = sorted(set(dead))
    return rows


def switched(browser, site: Path) -> list[str]:
    "Use the switch between the languages, and do without scripts; what went wrong."
    faults, front = [], (site/"index.html").as_uri()
    context = browser.new_context(locale="fr-FR", offline=True)
    tab = context.new_page()
    tab.goto(front)
    def shown(): return tab.locator("html").get_attribute("lang"), *(tab.locator("h2 span", has_text=words).is_visible() for words in ("The stages", "단계"))
    if shown() != ("en", True, False): faults.append(f"a French browser sees {shown()}")
    tab.get_by_role("button", name="한국어").click()
    if shown() != ("ko", False, True): faults.append(f"after the switch to Korean {shown()}")
    tab.goto(front)
    if shown()[0] != "ko": faults.append("the choice is forgotten")
    context.close()
    context = browser.new_context(locale="ko-KR", offline=True, java_script_enabled=False)
    tab = context.new_page()
    tab.goto(front)
    if shown() != ("en", True, False): faults.append(f"without scripts {shown()}")
    context.close()
    return faults


def chromium() -> str:
    "Why no page can be opened, or ''."
    try: import playwright.sync_api # noqa: F401
    except ImportError: return "playwright is not installed: pip install playwright"
    return "" if shutil.which("chromium") or shutil.which("google-chrome") else "there is no chromium on this machine"


def publish_hostile(folder: Path) -> dict[Path, set[str]]:
    "Publish the hostile run with worse answers, and lineages in which every pair is hostile, in one file and in parts; site → texts its lineage holds."
    from distill.core.lineage import chain_of, lineage_page, read_run
    from distill.core.report import publish
    data = folder/"worse"
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(folder/"root"/"data"/"runs"/RUN, data)
    worsen(data)
    publish(folder/"root"/"reports"/RUN, folder/"site", data)
    tables, every = read_run(data), "\n".join(HOSTILE.values())
    chains = "".join(record.model_dump_json() for pair in tables["pairs"].values() for record in chain_of(pair, tables))
    tables["items"] = {k: r.model_copy(update=dict(passage=every)) for k, r in tables["items"].items()}
    tables["pairs"] = {k: r.model_copy(update=dict(chosen=every, subject=f"{r.subject} {HOSTILE['closing']}")) for k, r in tables["pairs"].items()}
    for name, size in (("lineage-inside", 99), ("lineage-apart", 0)):
        shutil.rmtree(folder/name, ignore_errors=True)
        lineage_page(tables, folder/name, inline_mb=size)
    return {folder/"site": {n for n, bad in HOSTILE.items() if json.dumps(bad, ensure_ascii=False)[1:-1] in chains},
            folder/"lineage-inside": set(HOSTILE), folder/"lineage-apart": set(HOSTILE)}


def run(folder: Path | None = None, sites: list[Path] = ()) -> dict:
    "Make the hostile run and its site, then look at that and at other sites; a dict with `skipped` where there is no browser."
    if why := chromium(): return dict(skipped=why)
    if folder is None:
        with tempfile.TemporaryDirectory() as tmp: return run(Path(tmp), sites)
    folder = Path(folder).resolve()
    if fault := make_run(folder/"root"): return dict(ok=False, fault=fault)
    return look(folder, publish_hostile(folder) | {Path(site).resolve(): set() for site in sites})


def look(folder: Path, sites: dict[Path, set[str]]) -> dict:
    "Open the sites; counts, and every fault."
    from playwright.sync_api import sync_playwright
    rows, faults = [], []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=["--no-sandbox"])
        for site, held in sites.items():
            found = look_at(browser, site, folder/"shots"/site.name, held)
            for row in found:
                say(f"   {site.name}/{row['page']:24} {row['width']:>5} px  {row['shown']:>2} of {len(HOSTILE)} hostile texts shown as text  {row['faults'] or 'ok'}")
            if (site/"index.html").exists(): faults += [f"{site.name}: {fault}" for fault in switched(browser, site)]
            rows += [row | dict(site=site.name) for row in found]
        browser.close()
    faults += [f"{row['site']}/{row['page']} at {row['width']} px: {kind}: {fault}" for row in rows for kind, found in row["faults"].items() for fault in found]
    return dict(ok=not faults, views=len(rows), pages=len({(r["site"], r["page"]) for r in rows}), faults=faults)


if __name__ == "__main__":
    found = run(*([Path(sys.argv[1]), [Path(p) for p in sys.argv[2:]]] if len(sys.argv) > 1 else []))
    print(json.dumps(found, ensure_ascii=False))
    sys.exit(found.get("ok") is False)
