# The verbs of this repository, the same for people and for .ci/run.
# Needed: make, bash, Python 3.11 or newer with venv, and a package index that pip can reach.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test soak faults fuzz lint typecheck deepagents durable bench lock clean

VENV ?= .venv
BENCH_VENV ?= .venv-bench
DEEP_VENV ?= .venv-deepagents
DURABLE_VENV ?= .venv-durable
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BENCH_INSTALLED := $(BENCH_VENV)/.installed
DEEP_INSTALLED := $(DEEP_VENV)/.installed
DURABLE_INSTALLED := $(DURABLE_VENV)/.installed
DEEP := integrations/langchain-trove
DURABLE := integrations/pydantic-ai-trove
INTEGRATIONS := $(wildcard integrations/*)
PROJECTS := pyproject.toml $(INTEGRATIONS:%=%/pyproject.toml)
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header
PYTHON ?=
ARGS ?=
TROVE_SOAK ?= 200
TROVE_FUZZ ?= 200

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(INSTALLED) ## .venv with everything that requirements.lock pins

demo: $(INSTALLED) ## an agent breaks its workspace and gets it back, another is killed while it pays (ARGS=... goes to the first)
	@$(BIN)/python examples/01_rewind.py $(ARGS)
	@$(BIN)/python examples/02_paid_tools.py

# A file's tests stay together, since they share servers and databases
test: $(INSTALLED) ## all tests with coverage, on all cores (ARGS=... goes to pytest)
	@$(BIN)/python -m pytest --cov --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(if $(ARGS),--cov-fail-under=0) $(ARGS)

soak: $(INSTALLED) ## the long forms of the tests that have one, an hour or so (TROVE_SOAK=200 rounds each)
	@TROVE_SOAK=$(TROVE_SOAK) $(BIN)/python -m pytest --verbose --capture=no -o faulthandler_timeout=3600 \
		$(ARGS) $$(grep -rl 'TROVE_SOAK' --include 'test_*.py' tests integrations)

faults: $(INSTALLED) ## the guards under faults, and the sheet of what was lost or paid twice (ARGS="--histories 100000 --seed 1")
	@$(BIN)/python -m trove_agents.guard.faults $(ARGS)

fuzz: $(INSTALLED) ## random graphs and agents under random misfortune: what they say, their files and their money (TROVE_FUZZ=200 cases each)
	@TROVE_FUZZ=$(TROVE_FUZZ) $(BIN)/python -m pytest --verbose --capture=no -o faulthandler_timeout=3600 \
		$(ARGS) integrations/langgraph-trove/tests/test_fuzz.py integrations/pydantic-ai-trove/tests/test_fuzz.py

lint: $(INSTALLED) ## rules, format and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache

typecheck: $(INSTALLED) ## mypy --strict
	@$(BIN)/mypy

deepagents: $(DEEP_INSTALLED) ## tests and types of what uses deepagents, in an environment of its own
	@$(DEEP_VENV)/bin/mypy $(DEEP)/langchain_trove/sandbox
	@$(DEEP_VENV)/bin/python -m pytest $(DEEP)/tests/deep $(ARGS)

durable: $(DURABLE_INSTALLED) ## Pydantic AI's harness, and programs that an engine recovers, with the oldest Pydantic AI, in an environment of its own
	@$(DURABLE_VENV)/bin/python -m pytest $(or $(ARGS),$(DURABLE)/tests/test_harness.py $(DURABLE)/tests/test_durable.py)

bench: $(BENCH_INSTALLED) ## the figures of benchmarks/, beside other libraries (ARGS=... goes to the script)
	@$(BENCH_VENV)/bin/python benchmarks/run.py --docs docs/benchmarks.md $(ARGS)

# The extra deepagents holds others back, and so does the harness of Pydantic AI: each has a lock of its own
lock: ## every requirements.lock anew from what the projects ask for (needs uv)
	@$(COMPILE) --no-emit-package trove-agents $(INTEGRATIONS:integrations/%=--no-emit-package %) \
		--extra all --extra agent --group dev --output-file requirements.lock $(PROJECTS)
	@$(COMPILE) --no-emit-package trove-agents --no-emit-package langgraph-trove --extra server --extra agent --extra deepagents \
		--output-file $(DEEP)/requirements.lock pyproject.toml $(DEEP)/pyproject.toml $(DEEP)/requirements.in
	@$(COMPILE) --no-emit-package trove-agents --extra server \
		--output-file $(DURABLE)/requirements.lock pyproject.toml $(DURABLE)/pyproject.toml $(DURABLE)/requirements.in
	@$(COMPILE) --no-emit-package trove-agents $(INTEGRATIONS:integrations/%=--no-emit-package %) \
		--extra server --extra postgres --output-file benchmarks/requirements.lock $(PROJECTS) benchmarks/requirements.in

clean: ## removes what the verbs made
	@rm -rf $(VENV) $(BENCH_VENV) $(DEEP_VENV) $(DURABLE_VENV) build dist integrations/*/dist .coverage .benchmarks .hypothesis \
		.mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +

# $(call environment,FOLDER,LOCK,PROJECTS): an environment with what the lock pins, by hash, and our projects as they
# stand in the tree. What is there already stays.
define environment
	@if [ ! -x $(1)/bin/pip ]; then \
		chosen=; \
		for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
			if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
			then chosen=$$candidate; break; fi; \
		done; \
		if [ -z "$$chosen" ]; then \
			echo "No Python 3.11 or newer with venv was found." >&2; \
			echo "Install one (on Debian also python3-venv), or name it: make setup PYTHON=/path/to/python3" >&2; \
			exit 1; \
		fi; \
		echo "Making $(1) with $$("$$chosen" --version)"; \
		"$$chosen" -m venv $(1); \
	fi
	@echo "Installing the $$(grep -c '^[a-z].*==' $(2)) packages of $(2)"
	@# --no-deps: the lock is whole, and pip would take the newest of what another asks for with an extra
	@$(1)/bin/python -m pip --disable-pip-version-check --no-input install --no-deps --require-hashes --requirement $(2) \
		| awk '/^Collecting/ && ++n % 20 == 0 {print "  " n " fetched"; fflush()} \
		       /^Installing collected/ {print "  unpacking"; fflush()}'
	@echo "Installing $(3:.=trove-agents)"
	@$(1)/bin/python -m pip --disable-pip-version-check --no-input install --quiet \
		--no-deps --no-build-isolation $(addprefix --editable ,$(3))
	@$(1)/bin/python -m pip --disable-pip-version-check check >/dev/null
	@touch $@
endef

$(INSTALLED): requirements.lock $(PROJECTS)
	$(call environment,$(VENV),requirements.lock,. $(INTEGRATIONS))

$(DEEP_INSTALLED): $(DEEP)/requirements.lock $(PROJECTS)
	$(call environment,$(DEEP_VENV),$(DEEP)/requirements.lock,. $(DEEP) integrations/langgraph-trove)

$(DURABLE_INSTALLED): $(DURABLE)/requirements.lock $(PROJECTS)
	$(call environment,$(DURABLE_VENV),$(DURABLE)/requirements.lock,. $(DURABLE))

$(BENCH_INSTALLED): benchmarks/requirements.lock $(PROJECTS)
	$(call environment,$(BENCH_VENV),benchmarks/requirements.lock,. $(INTEGRATIONS))
