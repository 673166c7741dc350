"Imports go one way: core ← lab ← 00 ← 01 ← … ← 05 ← studies; the command line uses core, lab and studies, but no stage."

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from distill.core.files import STAGES
from distill.core.runner import named_modules, reached_modules

PACKAGE = Path(__file__).resolve().parents[1]/"distill"
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name[0] != "_"]
MODULES = {".".join(("distill", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in FILES}
HEAVY = {"torch", "transformers", "trl", "peft", "accelerate", "datasets", "unsloth"}
GENERATES = {"distill.core.export", "distill.core.hf", "distill.core.loss", "distill.core.tree", "distill.core.trainer", "distill.orpo"}
RANKS = ["core", "lab", *(stage[3:] for stage in STAGES), "studies"]


def rank(module: str) -> int:
    "0 core, 1 lab, 2 … 7 the stages, 8 studies; the command line counts as a stage that nobody imports."
    part = module.split(".")[1]
    return len(RANKS) if part == "cli" else RANKS.index(part)


def imports(path: Path, top_only: bool = False) -> list[ast.Import | ast.ImportFrom]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in (tree.body if top_only else ast.walk(tree)) if isinstance(node, ast.Import | ast.ImportFrom)]


def test_every_module_has_its_place():
    assert len(MODULES) >= 10
    for module in MODULES: rank(module)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_comes_before_it(module):
    code = MODULES[module].read_text(encoding="utf-8")
    for found in named_modules(code, module.rpartition(".")[0]):
        if f'"{found}"' in code: continue # a name to import when a spec asks for it
        same_folder = rank(found) == rank(module) and module.count(".") > 1
        assert rank(found) < rank(module) or same_folder, f"{module} imports {found}: arrows point backwards only"


@pytest.mark.parametrize("module", [m for m in MODULES if rank(m) == len(RANKS)])
def test_the_command_line_imports_no_stage(module):
    assert all(RANKS[rank(found)] in ("core", "lab", "studies") for found in named_modules(MODULES[module].read_text(encoding="utf-8"), "distill"))


@pytest.mark.parametrize("module", MODULES)
def test_names_are_imported_one_by_one(module):
    for node in imports(MODULES[module]):
        assert not any(alias.name == "*" for alias in node.names), f"{module} line {node.lineno}: import names, not *"


def test_nothing_is_imported_or_named_in_vain():
    said = subprocess.run([sys.executable, "-m", "ruff", "check", "--output-format", "concise", "nbs", "benchmarks", "tests"], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout


@pytest.mark.parametrize("module", sorted(set(MODULES) - GENERATES))
def test_only_what_trains_or_generates_imports_torch(module):
    for node in imports(MODULES[module], top_only=True):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        heavy = HEAVY & {name.split(".")[0] for name in names}
        assert not heavy or node.__dict__.get("level"), f"{module} line {node.lineno} imports {heavy.pop()}"


def test_the_command_line_starts_without_torch_and_without_papermill():
    slow = ["torch", "transformers", "papermill", "nbconvert", "matplotlib"]
    look = f"import sys, distill.cli; print([m for m in {slow} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_importing_the_package_touches_no_file(tmp_path):
    look = "import importlib, sys; [importlib.import_module(m) for m in sys.argv[1:]]"
    light = [m for m in MODULES if m not in GENERATES and not any(h in GENERATES for h in reached_modules([f"import {m}"]))]
    subprocess.run([sys.executable, "-c", look, *light], cwd=tmp_path, env={"PATH": "", "DISTILL_ROOT": str(tmp_path)}, check=True)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
