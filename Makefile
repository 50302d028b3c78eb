# Everything runs from .venv; nothing is installed outside this folder.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT ?= 5000
# In the order that tests/end_to_end gives them, and not by the number of tests in a file.
PYTEST_ARGS ?= -rs -n 2 --dist loadfile --no-loadscope-reorder
VENV := .venv
READY := $(VENV)/.ready
# DVC runs the stages as `python ...`: that has to be this environment's.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := 1
unexport PYTHONHOME PYTHONPATH PYTHONSAFEPATH
# DVC asks for the user's name, and in a container a user may have none: `id` prints a number then.
export LOGNAME := $(or $(LOGNAME),$(USER),$(shell id -un 2>/dev/null))

.PHONY: help setup repro accept keep test check smoke lint bench format reference ui site play hooks docs clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv from requirements.lock

$(READY): requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.version_info[:2] == (3, 11) or sys.exit(1)' \
	  || { echo "Python 3.11 is needed; name it with: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(VENV)/bin/python || "$(PYTHON)" -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
# The first use of a store migrates it, and two first uses at once would collide.
	@$(VENV)/bin/mlflow db upgrade sqlite:///mlflow.db >$(VENV)/mlflow-upgrade.log 2>&1 \
	  || { cat $(VENV)/mlflow-upgrade.log >&2; exit 1; }
	@touch $@

repro: setup ## Run the whole pipeline (only what changed)
	@python -m pipelines.dvc.repair
	dvc repro

# The commit that the results in dvc.lock are of.
FROM ?= HEAD
accept: setup ## Renew dvc.lock after an edit of code that changes no result
	@python -m pipelines.dvc.accept $(FROM)

keep: setup ## Copy the run of ROUND to results/, where it stays
	@python -m pipelines.keep $(ROUND)

lint: setup ## Check style, types and import rules
	ruff check .
	ruff format --check .
	mypy
# The package itself runs elsewhere too: what a system lacks is an error of types.
	mypy --platform darwin --cache-dir .mypy_cache/darwin src
	mypy --platform win32 --cache-dir .mypy_cache/win32 src
	lint-imports

# One thread a worker: two workers with all threads each would fight over the cores.
test: lint docs ## Lint, build the docs, then run the tests
	OMP_NUM_THREADS=1 pytest $(PYTEST_ARGS)

# Pipelines, servers, kills and pools of processes take their time: they are left to `make test`.
APART := end_to_end pipelines benchmarks tracking training runtime/test_processes.py
check: lint ## Lint, then the quick tests: each room's own logic
	OMP_NUM_THREADS=1 pytest $(PYTEST_ARGS) $(APART:%=--ignore=tests/%)

smoke: setup ## Run Pendulum's smallest pipeline in a copy, and the gate on it
	.ci/smoke

bench: setup ## Measure how near each path comes to its limit
	python -m benchmarks

format: setup ## Rewrite the code in the house style
	ruff check --fix .
	ruff format .

docs: setup ## Build the documentation's site in build/docs; a warning is an error
	sphinx-build -W --keep-going --quiet -b html docs build/docs

reference: setup ## Write docs/reference/ from the code
	world-models params --reference >docs/reference/parameters.md
	python docs/stages.py >docs/reference/stages.md

# A folder that was renamed finds its artifacts again.
ui: setup ## Open MLflow's pages on PORT (default 5000)
	@case "$${MLFLOW_TRACKING_URI:=sqlite:///mlflow.db}" in \
	  http*) echo "MLflow runs elsewhere: where MLFLOW_TRACKING_URI says"; exit;; \
	esac; \
	export MLFLOW_TRACKING_URI; \
	python -c 'from world_models.tracking.client import *; open_store(present_uri())' || exit 1; \
	echo "MLflow: http://127.0.0.1:$(PORT)/#/experiments/1/runs?workflowType=machine_learning"; \
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow server --workers 1 \
	  --host 127.0.0.1 --port $(PORT) \
	  --backend-store-uri "$$MLFLOW_TRACKING_URI" \
	  --default-artifact-root "$(CURDIR)/mlartifacts"

# npm fetches what runs the networks in a browser: pinned, with its integrity, in package-lock.json.
WEB := src/world_models/play/web
SITE ?= build/site
site: setup ## Build the playground's page as files in SITE (default build/site)
	@command -v npm > /dev/null || { echo "the page's runtime is fetched by npm: install Node.js" >&2; exit 1; }
	npm ci --prefix $(WEB) --ignore-scripts --no-audit --no-fund --silent
	world-models site $(SITE)

play: site ## Open the playground in the browser
	world-models play --page $(SITE)

hooks: setup ## Check each commit before it is made
	pre-commit install

clean: ## Remove .venv and caches; data, models and runs stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache src/*.egg-info
	find src pipelines tests -name __pycache__ -type d -prune -exec rm -rf {} +
