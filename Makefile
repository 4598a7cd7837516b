# `make` prints what there is; every target creates what it needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   ?= demo

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint export wheel-trial clean

help: ## Print the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## Create .venv and install everything, with the versions of constraints.txt.

# torch goes first and alone: resolved together with the rest, a newer build may be taken than the tested one.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup ## Walk the whole road on synthetic papers: train, export, classify, report (DEMO=folder).
	rm -rf $(DEMO)
	$(BIN)/specter-batch demo $(DEMO)

test: setup ## Run every test.
	$(BIN)/pytest

lint: setup ## Check style, types and the arrows between the packages.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

export: setup ## Build a bundle of all recipes: make export RUN=folder BUNDLE=folder.
	@test -n "$(RUN)" -a -n "$(BUNDLE)" || { echo "usage: make export RUN=folder BUNDLE=folder"; exit 2; }
	$(BIN)/specter-batch export $(RUN) $(BUNDLE) $(foreach recipe,$(wildcard export/recipes/*.toml),--recipe $(recipe))

wheel-trial: setup ## Install the built wheel into an empty environment and classify the demo's night with it.
	PYTHON=$(PYTHON) BUILD_PYTHON=$(BIN)/python DEMO=$(DEMO) .ci/wheel-trial

clean: ## Remove everything that make made.
	rm -rf $(VENV) $(DEMO) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
