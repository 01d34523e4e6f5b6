.DEFAULT_GOAL := help
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
export PYTHONSAFEPATH := 1# ./evaluate must never hide an installed package of that name

.PHONY: help install lock run test lint types unit bench demo clean

help:     ## List the targets
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

install: $(VENV)/.installed  ## Make the virtual environment in $(VENV) from the lock, and this folder into it

$(VENV)/.installed: requirements-dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sedimental needs Python 3.11 or newer; say make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --requirement requirements-dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

lock: install     ## Resolve uv.lock anew within pyproject's ranges, and write the requirements files that pip reads
	$(BIN)/uv lock --upgrade
	$(BIN)/uv export --quiet --no-emit-project --no-annotate --no-dev --output-file requirements.txt
	$(BIN)/uv export --quiet --no-emit-project --no-annotate --output-file requirements-dev.txt

run: install  ## Extract, train and report on the demo corpus: the pipeline.toml of this folder
	$(BIN)/sedimental run

test: install lint types unit  ## What CI runs: style, types, tests

lint: install  ## Ruff: style and import order
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: install  ## mypy, strict
	@mkdir -p build/types && ln -sfn ../.. build/types/sedimental
	$(BIN)/mypy -p sedimental

unit: install  ## The tests alone, a process a core
	$(BIN)/pytest -n auto --dist loadfile

bench: install  ## Speed, each figure beside its limit in the same run (takes a while)
	for part in store extract train sweep; do $(BIN)/python tests/bench/bench_$$part.py || exit 1; done

demo: install  ## Draw and speak the demo corpus anew (needs espeak-ng)
	PYTHONPATH=tools $(BIN)/python -m demo_corpus.make_demo extract/corpora/demo

clean:    ## Remove what was built; features/ and runs/ stay
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
