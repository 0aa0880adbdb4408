# The verbs of this repository, the same for people and for .ci/run.
# Needed: make, bash, Python 3.11 or newer with venv, and a package index that pip can reach.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint typecheck bench lock clean

VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BENCH_INSTALLED := $(VENV)/.installed-bench
INTEGRATIONS := $(wildcard integrations/*)
PROJECTS := pyproject.toml $(INTEGRATIONS:%=%/pyproject.toml)
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
ARGS ?=

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(INSTALLED) ## .venv with everything that requirements.lock pins

demo: $(INSTALLED) ## an agent breaks its workspace and gets it back (ARGS=... goes to the script)
	@$(BIN)/python examples/01_rewind.py $(ARGS)

test: $(INSTALLED) ## all tests with coverage (ARGS=... goes to pytest)
	@$(BIN)/python -m pytest --cov $(ARGS)

lint: $(INSTALLED) ## rules, format and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache

typecheck: $(INSTALLED) ## mypy --strict
	@$(BIN)/mypy

bench: $(INSTALLED) $(BENCH_INSTALLED) ## the figures of benchmarks/ (ARGS=... goes to the script)
	@$(BIN)/python benchmarks/run.py $(ARGS)

lock: ## requirements.lock anew from the pyproject files (needs uv)
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --no-emit-package trove-agents \
		$(INTEGRATIONS:integrations/%=--no-emit-package %) \
		--all-extras --group dev --output-file requirements.lock $(PROJECTS)

clean: ## removes what the verbs made
	@rm -rf $(VENV) build dist integrations/*/dist .coverage .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +

# Installing by hash needs nothing but the index; the four distributions then go in as they stand in the tree.
$(INSTALLED): requirements.lock $(PROJECTS)
	@if [ ! -x $(BIN)/python ]; then \
		chosen=; \
		for candidate in $${PYTHON:-} python3 python3.13 python3.12 python3.11; do \
			if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
			then chosen=$$candidate; break; fi; \
		done; \
		if [ -z "$$chosen" ]; then \
			echo "No Python 3.11 or newer with venv was found. Install one (on Debian also python3-venv), or name it: make setup PYTHON=/path/to/python" >&2; \
			exit 1; \
		fi; \
		echo "Making $(VENV) with $$("$$chosen" --version)"; \
		"$$chosen" -m venv $(VENV); \
	fi
	@echo "Installing the $$(grep -c '^[a-z].*==' requirements.lock) packages of requirements.lock"
	@$(PIP) install --require-hashes --requirement requirements.lock \
		| awk '/^Collecting/ && ++n % 20 == 0 {print "  " n " fetched"; fflush()} \
		       /^Installing collected/ {print "  unpacking"; fflush()}'
	@echo "Installing trove-agents and its integrations"
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable . $(INTEGRATIONS:%=--editable %)
	@touch $@

$(BENCH_INSTALLED): $(INSTALLED) $(wildcard benchmarks/requirements.lock)
	@if [ -e benchmarks/requirements.lock ]; then \
		echo "Installing what the benchmarks compare with"; \
		$(PIP) install --quiet --require-hashes --requirement benchmarks/requirements.lock; \
	fi
	@touch $@
