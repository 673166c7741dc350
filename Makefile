# Two commands on a fresh machine with Python 3.11+ and make: `make run` and `make test`.
SHELL := /bin/bash
PROFILE ?= lab
BIN := .venv/bin
# One thread a process: two cores carry two test processes, and sums come out the same everywhere.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help env run test notebooks evidence report lab clean
.DEFAULT_GOAL := help

help:
	@echo "make run              environment, then the profile lab: six notebooks, a report (PROFILE=name for another profile)"
	@echo "make test             environment, notebooks clean and exported, pytest, every notebook's examples"
	@echo "make evidence NAME=x  measure the claims of benchmarks/evidence_x.py"
	@echo "make report           where the reports are"
	@echo "make lab              JupyterLab on the notebooks"
	@echo "make clean            delete the tiny run and caches; environment, ledger and other runs stay"

env:
	@bash .ci/env

run: env
	@$(BIN)/distill run $(PROFILE)

test: env notebooks
	@echo "== pytest, two files at a time, the longest first"
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/test_runs.py tests/test_kill.py tests
	@echo "== the tiny run"
	@$(BIN)/distill run tiny
	@echo "== every notebook's examples"
	@$(BIN)/nbdev-test --n-workers 2 --do-print

notebooks: env
	@echo "== notebooks clean and exported"
	@bash .ci/notebooks

evidence:
	@test -f "benchmarks/evidence_$(NAME).py" || { echo "make evidence NAME=…: there is no benchmarks/evidence_$(NAME).py; there are:" \
	  $$(cd benchmarks && ls evidence_*.py 2>/dev/null | sed 's/evidence_//; s/\.py//') >&2; exit 1; }
	@bash .ci/env
	@$(BIN)/python benchmarks/evidence_$(NAME).py

report:
	@ls -1t reports/*/index.html 2>/dev/null || echo "no report yet: make run"

lab: env
	@$(BIN)/jupyter lab nbs

clean:
	@rm -rf data/runs/tiny reports/tiny .pytest_cache .hypothesis unsloth_compiled_cache
