# `make` prints the list of targets; every target creates what it needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# A second environment, with transformers 5 and without Optimum.
VENV5  := .venv-transformers5
BIN5   := $(VENV5)/bin
DEMO   ?= demo
SCIDOCS ?= scidocs
BENCH  ?= bench
DEVICE ?= cpu
VOCABULARY ?= allenai/specter

.DEFAULT_GOAL := help
.PHONY: help setup demo scidocs test transformers5 coverage lint docs export bench dist wheel-trial clean

help: ## Print the targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## Create .venv and install everything, with the versions of constraints.txt.

# torch is installed first and alone. Together with the other packages, pip might choose a newer, untested build.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup ## Run every step on synthetic papers: train, export, classify, report (DEMO=folder).
	rm -rf $(DEMO)
	$(BIN)/specter-batch demo $(DEMO)

# Download only the files that prepare-scidocs reads; the bucket also has the larger files of SciDocs' other tasks.
scidocs: setup ## Fetch SciDocs with aws and make it ready to train on (SCIDOCS=folder).
	@command -v aws > /dev/null || { \
		echo "aws not found: install the AWS CLI (pip install awscli; no account is needed), then make scidocs again" >&2; exit 1; }
	aws s3 sync --no-sign-request s3://ai2-s2-research-public/specter/scidocs/ $(SCIDOCS)/raw \
		--exclude '*' --include paper_metadata_mag_mesh.json --include 'mag/*.csv' --include 'mesh/*.csv' || { \
		echo "SciDocs was not fetched, see above: check the network and any proxy, then make scidocs again" >&2; exit 1; }
	@if test -e $(SCIDOCS)/papers/scidocs.json; then \
		echo "$(SCIDOCS)/papers is there already; remove it to prepare it again"; \
	else $(BIN)/specter-batch prepare-scidocs $(SCIDOCS)/raw $(SCIDOCS)/papers; fi

# Workers share no files, so that they can run at once; tests of one file share what they make.
PARALLEL := -n auto --maxprocesses 8 --dist loadfile
PYTEST := $(BIN)/pytest $(PARALLEL)

test: setup ## Run every test, several at once.
	$(PYTEST)

# The versions of constraints.txt, except those that constraints-transformers5.txt replaces.
$(VENV5)/.installed: pyproject.toml constraints.txt constraints-transformers5.txt
	$(PYTHON) -m venv $(VENV5)
	sed 's/==.*/==/' constraints-transformers5.txt | grep -vFf - constraints.txt | cat - constraints-transformers5.txt > $(VENV5)/constraints.txt
	$(BIN5)/pip install --quiet --no-compile --constraint $(VENV5)/constraints.txt torch
	$(BIN5)/pip install --quiet --no-compile --constraint $(VENV5)/constraints.txt --editable '.[train,export-torch]' hypothesis pytest pytest-xdist
	@touch $@

transformers5: $(VENV5)/.installed ## Run the tests of training and of export --exporter torch with transformers 5.
	$(BIN5)/pytest $(PARALLEL) tests/training/model tests/training/fit tests/export/graphs/test_exporters.py tests/golden/test_golden_trained.py

# Needs Python 3.12 or later, whose monitoring is fast. The last table lists the least covered files first.
coverage: setup ## Run every test and print how much of the code they run.
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 12) and "make coverage needs Python 3.12 or later: make clean, then make PYTHON=python3.12 coverage")'
	$(PYTEST) --cov --cov-report=
	$(BIN)/coverage report | awk 'NR <= 25 || /^TOTAL/'

lint: setup ## Check style, spelling, types and the dependencies between the packages.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports

# Without --quiet, because it hides warnings from --strict. The disabled notice is mkdocs-material's end of life.
docs: setup ## Build the documentation into site/; every warning fails.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

export: setup ## Build a bundle of all recipes: make export RUN=folder BUNDLE=folder.
	@test -n "$(RUN)" -a -n "$(BUNDLE)" || { echo "usage: make export RUN=folder BUNDLE=folder"; exit 2; }
	$(BIN)/specter-batch export $(RUN) $(BUNDLE) $(foreach recipe,$(wildcard export/recipes/*.toml),--recipe $(recipe))

# Without RUN, a run of SPECTER's shape with random weights is made. Its speed and memory equal those of a trained run.
bench: setup ## Compare the job's speed with other ways to run the model: make bench PAPERS=parquet (RUN=, BUNDLE=, DEVICE=cuda).
	@test -n "$(PAPERS)" || { \
		echo "usage: make bench PAPERS=parquet: some 100 real papers or more, with id, title and abstract; synthetic ones" \
			"are shorter and say nothing of speed" >&2; exit 2; }
	@test -z "$(BUNDLE)" -o -n "$(RUN)" || { echo "BUNDLE without RUN: give the run that it was exported from" >&2; exit 2; }
	$(if $(RUN),,test -e $(BENCH)/run/run.json || $(BIN)/python benchmarks/random_run.py $(VOCABULARY) $(PAPERS) $(BENCH)/run)
	$(if $(BUNDLE),,test -e $(BENCH)/bundle/bundle.json || $(BIN)/specter-batch export $(or $(RUN),$(BENCH)/run) $(BENCH)/bundle \
		--recipe $(if $(RUN),cpu-int8,$(BENCH)/run/int8.toml) $(if $(filter cuda,$(DEVICE)),--recipe cuda-fp16))
	$(BIN)/python benchmarks/side_by_side.py $(or $(RUN),$(BENCH)/run) $(or $(BUNDLE),$(BENCH)/bundle) $(PAPERS) $(BENCH) --device $(DEVICE)
	$(BIN)/python benchmarks/scaling.py $(or $(BUNDLE),$(BENCH)/bundle) $(PAPERS) $(BENCH) --device $(DEVICE)

# The wheel is made from the sdist, which shows that the sdist is complete.
dist: setup ## Build sdist and wheel into dist/.
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

wheel-trial: setup ## Install a wheel into an empty environment and classify the demo's night with it (WHEEL=file, else built).
	PYTHON=$(PYTHON) BUILD_PYTHON=$(BIN)/python DEMO=$(DEMO) WHEEL=$(WHEEL) .ci/wheel-trial

clean: ## Remove everything that make created, except SciDocs.
	rm -rf $(VENV) $(VENV5) $(DEMO) $(BENCH) site build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.*
