# Everything starts here: `make demo`, `make test`. Needs git, make, Python >= 3.11 with venv, a package registry.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# CUDA or another build of torch: make demo CONSTRAINTS=
CONSTRAINTS ?= -c constraints.txt

.PHONY: demo test test-slow test-browser check clean help

help:
	@echo "make demo       set up, train the article's experiment on MNIST, write runs/article/report.html"
	@echo "make test       set up, run the whole everyday suite with the style, type, import and doc checks"
	@echo "make test-slow  the heavier proofs: kill loops, long runs"
	@echo "make test-browser  the service's page in a real Chromium, Debian's, installed where it is missing"
	@echo "make clean      remove the virtual environment and the caches, never runs/"

demo: $(VENV)/.installed
	@echo "demo: training the triplet experiment on all of MNIST (about a minute on two cores)"
	$(BIN)/mitsugo train mnist --recipe article --out runs/article --resume

test: $(VENV)/.installed-dev
	@echo "test: format, lint, types, imports, then every everyday test"
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check

test-slow: $(VENV)/.installed-dev
	@echo "test-slow: kill loops and long runs"
	$(BIN)/python -m pytest -m slow

test-browser: $(VENV)/.installed-dev
	@echo "test-browser: the page from end to end, in the Chromium of this machine"
	scripts/browser
	$(BIN)/python -m pytest -m "browser and not slow"

$(VENV)/bin/python:
	@echo "set-up: making the virtual environment $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mitsugo needs Python 3.11 or newer; $(PYTHON) is older: make PYTHON=python3.12 ..."; exit 5; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "set-up: installing mitsugo and the torch that fits (a minute or two, once)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "set-up: installing mitsugo with its test tools (a minute or two, once)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS) -e '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .coverage
