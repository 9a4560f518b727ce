# Every target runs through the virtual environment in $(VENV); nothing needs to be activated.
#   make demo      make test      make help

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Hundreds of short processes would compile all they import, each for itself.
unexport PYTHONDONTWRITEBYTECODE

VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
WORKERS ?= 2

# A stamp carries the checksum of what it installed, so a changed pin installs again and nothing else does.
PINS := $(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
INSTALLED := $(VENV)/.installed-$(PINS)
INSTALLED_DEV := $(VENV)/.installed-dev-$(PINS)

PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(PYTEST_ARGS)
CPU_ONLY := not gpu
QUICK := not gpu and not slow and not ray and not services and not distributed and not real_data

.PHONY: help venv venv-dev demo test fast chaos nightly checks lint types docstrings spelling contracts format \
        wheel check-wheel constraints clean

help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(INSTALLED) ## make .venv and install aptune into it
venv-dev: $(INSTALLED_DEV) ## the same, with the tools that `make test` needs

$(INSTALLED):
	@scripts/install.sh $(VENV)
	@rm -f $(VENV)/.installed-[0-9]* && touch $@

$(INSTALLED_DEV):
	@scripts/install.sh $(VENV) dev
	@rm -f $(VENV)/.installed-* && touch $@ $(INSTALLED)

demo: $(INSTALLED) ## train, prune, tune and distil a grid on the embedded default; prints table, report, MLflow
	@$(BIN)/aptune sweep -c demo

test: $(INSTALLED_DEV) checks ## every check and the whole CPU test suite
	@$(PYTEST) -m "$(CPU_ONLY)"

fast: $(INSTALLED_DEV) ## the unit tests only
	@$(PYTEST) -m "$(QUICK)"

CHAOS := tests/orchestrator/test_chaos.py

chaos: $(INSTALLED_DEV) ## kill the processes of sweeps, 6 and then 50 times; takes an hour or so
	@APTUNE_NIGHTLY=1 $(BIN)/python -m pytest $(CHAOS) $(PYTEST_ARGS)

nightly: $(INSTALLED_DEV) ## what is too long for every change, without `chaos`; an hour or two
	@APTUNE_NIGHTLY=1 $(PYTEST) -m "$(CPU_ONLY) and nightly" --ignore=$(CHAOS)

checks: lint types docstrings spelling contracts ## lint, format, types, docstrings, spelling, import contracts

lint: $(INSTALLED_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED_DEV)
	$(BIN)/mypy

docstrings: $(INSTALLED_DEV)
	$(BIN)/pydoclint --quiet apt_core orchestrator jobs

spelling: $(INSTALLED_DEV)
	$(BIN)/codespell

contracts: $(INSTALLED_DEV)
	$(BIN)/lint-imports --no-cache

format: $(INSTALLED_DEV) ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(INSTALLED_DEV) ## build dist/*.whl and dist/*.tar.gz
	@rm -rf dist && $(BIN)/python -m build --quiet --outdir dist . && ls dist

check-wheel: wheel ## install the wheel into a fresh environment in an empty folder and run it there
	@scripts/check_wheel.sh dist/*.whl

constraints: $(INSTALLED_DEV) ## write constraints.txt from what is installed now
	@scripts/freeze.sh $(BIN)/python > constraints.txt.new && mv constraints.txt.new constraints.txt

clean: ## remove what was built and cached; .venv and runs/ stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
