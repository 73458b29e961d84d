# Two commands matter: `make demo` shows the main job, `make test` sets up and checks everything.
PYTHON ?= python3
VENV   ?= .venv
SEEDS  ?= 1000
EXAMPLES ?= 1000
BIN    := $(VENV)/bin

.PHONY: help demo test check fix bench chaos soak simulate fuzz docs clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    set up, then show the main job: accept, deliver, retry, dead letter, replay"
	@echo "make test    set up, then run every check and test"
	@echo "make bench   measure, beside the limits of this machine; writes bench/results/"
	@echo "make simulate SEEDS=1000   virtual days of faults and crashes, the promises checked"
	@echo "make chaos   kill, starve and lie to the real daemon (ROUNDS=1 ONLY=kill,power SEED=...)"
	@echo "make soak    one long life under load and faults; MINUTES=60; CSV and SVG in chaos/results/"
	@echo "make fuzz EXAMPLES=1000   so many odd files, texts and requests against each parser and port"
	@echo "make fix     format and mend what ruff can mend"
	@echo "make docs    write docs/configuration.md from the schema"

# -- set-up ----------------------------------------------------------------------------------

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11 or newer, or say make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is too old: Python 3.11 or newer is needed (make PYTHON=python3.12 ...)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing: install it (Debian and Ubuntu: apt-get install python3-venv), then try again"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.run

# -- the two commands ------------------------------------------------------------------------

demo: $(VENV)/.run
	$(BIN)/python demo/demo.py

test: check
	$(BIN)/python -m pytest -n auto

# -- parts -----------------------------------------------------------------------------------

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	$(BIN)/python -m bench

simulate: $(VENV)/.dev
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

chaos: $(VENV)/.dev
	$(BIN)/python -m chaos $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY)) $(if $(SEED),--seed $(SEED))

soak: $(VENV)/.dev
	$(BIN)/python -m chaos.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

fuzz: $(VENV)/.dev
	HOOKPOST_FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/fuzz -n auto --show-capture=no

docs: $(VENV)/.dev
	$(BIN)/python -m hookpost.config.reference > docs/configuration.md

clean:
	rm -rf $(VENV) build dist bench/results .mypy_cache .ruff_cache .pytest_cache
