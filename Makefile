# make demo, make test, make test-fast, make test-all, make lint, make docs, make bench, make bench-all, make clean.
# make release-check and make test-lowest before a release.
# Each makes the environment it needs in .venv, once.
# make install-module installs Pilotune for a group.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
# Many tests wait for a scheduler or a limit most of their time.
TESTS_AT_ONCE ?= 4
BIN := $(abspath $(VENV))/bin
TORCH := torch==2.13.0
DEMO := $(CURDIR)/build/demo
BENCHMARKS := driver_cost verdict_cost packing simulated_utilization throughput process_cost startup_memory
# The peers of benchmarks/quality need an environment of their own. The cache keeps finished runs.
QUALITY := build/quality-env
QUALITY_CACHE ?= build/quality
# A PostgreSQL database for make bench-all: its URL, or `start` for a server of its own, as root on Debian.
POSTGRES ?=

.PHONY: help demo test test-fast test-all lint docs screenshots release-check test-lowest bench bench-all bench-quality clean install-module
.DEFAULT_GOAL := help

help:
	@echo "make demo    tune a network on handwritten digits with local workers, and test the best one (about a minute)"
	@echo "make test    run the tests, at most 15 minutes on two cores; ARGS='-k resume' chooses some"
	@echo "make test-fast"
	@echo "             the tests for daily use, at most 3 minutes: no scheduler, no campaign on real workers"
	@echo "make test-all"
	@echo "             all tests, the exhaustive ones too: 10,000 simulated campaigns, every fault many times"
	@echo "make lint    ruff, mypy --strict on the package, and import-linter on its rooms"
	@echo "make docs    the documentation as a site in build/site, with its links checked; needs no network"
	@echo "make bench   measure Pilotune beside its peers, a few minutes"
	@echo "make bench-all"
	@echo "             the same at full size, some 25 minutes on a machine with nothing else to do;"
	@echo "             benchmarks/RESULTS.md keeps it. POSTGRES=start measures a PostgreSQL server too"
	@echo "make bench-quality"
	@echo "             how good what the samplers find is: ARGS='--budget 2h' stops in time, and the next call goes on"
	@echo "make screenshots"
	@echo "             make the documentation's pictures again, with Chromium"
	@echo "make release-check"
	@echo "             build wheel and source distribution, and run the demo's study from each, in empty environments"
	@echo "make test-lowest"
	@echo "             the tests of record, suggest and studyfile with the lowest versions of all dependencies"
	@echo "make clean   remove all that make made, the environment in $(VENV) too"
	@echo "make install-module PREFIX=/soft/apps"
	@echo "             install Pilotune for a group: an environment of its own and a module file for Lmod"

# A study of its own each time, under build/demo, so that nothing of an earlier run counts.
demo: export XDG_STATE_HOME := $(DEMO)/state
demo: $(VENV)/.demo
	@rm -rf $(DEMO)
	@mkdir -p $(DEMO)
	$(BIN)/pilotune run examples/digits-torch/study.yaml --runs $(DEMO)
	$(BIN)/pilotune export digits-torch --best --out $(DEMO)/best.json
	$(BIN)/python examples/digits-torch/evaluate.py $(DEMO)/best.json

PYTEST := $(BIN)/python -m pytest -n $(TESTS_AT_ONCE) --dist loadfile --no-loadscope-reorder --durations=30

# Thousands of short processes: each would compile the modules anew where Python is told to keep no bytecode.
test test-fast test-all: export PYTHONDONTWRITEBYTECODE :=

test: $(VENV)/.test
	@sh tests/support/setup.sh
	$(PYTEST) -m "not exhaustive" $(ARGS)

test-fast: $(VENV)/.test
	$(PYTEST) -m "not real and not slow and not exhaustive" $(ARGS)

test-all: export PILOTUNE_TESTS := all
test-all: $(VENV)/.test
	@sh tests/support/setup.sh
	$(PYTEST) $(ARGS)

# mypy knows the package by its folder's name, which need not be that of this checkout: hence the link.
lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p $(VENV)/lint && ln -sfn $(CURDIR) $(VENV)/lint/pilotune
	cd $(VENV)/lint && $(BIN)/mypy --strict --config-file pilotune/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache \
		-m pilotune -m pilotune.errors -p pilotune.pipeline -p pilotune.providers -p pilotune.objectives
	$(BIN)/lint-imports --no-cache

docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --clean
	@echo "build/site/index.html"

screenshots: $(VENV)/.test
	$(BIN)/python docs/screenshots.py

release-check: $(VENV)/.test
	$(BIN)/python release/check.py --torch "$(TORCH)" $(ARGS)

test-lowest:
	$(fit_python)
	$(PYTHON) release/lowest_versions.py --torch "$(TORCH)" -- -n $(TESTS_AT_ONCE) $(ARGS)

bench: $(VENV)/.bench
	@for each in $(BENCHMARKS); do $(BIN)/python benchmarks/$$each.py --small $(ARGS) || exit 1; done

bench-all: $(VENV)/.bench
	$(BIN)/python benchmarks/driver_cost.py --keep $(addprefix --postgres=,$(POSTGRES))
	@for each in $(filter-out driver_cost,$(BENCHMARKS)); do $(BIN)/python benchmarks/$$each.py --keep || exit 1; done

bench-quality: $(QUALITY)/.peers
	$(QUALITY)/bin/python benchmarks/quality --cache $(QUALITY_CACHE) --keep $(ARGS)

# ARGS='--extras torch' or ARGS=--system-site-packages: more packages in that environment.
install-module:
	$(fit_python)
	@$(PYTHON) site-configs/install-module.py $(ARGS) -- "$(PREFIX)"

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis pilotune-runs

# A changed pyproject.toml installs again into the same environment.
$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)" -e ".[torch,examples]"
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)" -e ".[torch,dashboard,test]"
	@touch $@

# The peers: what tests and the demo need not wait for.
$(VENV)/.bench: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[bench]"
	@touch $@

# HEBO without its requirements: it asks for an older NumPy than it needs.
$(QUALITY)/.peers: pyproject.toml
	$(fit_python)
	$(PYTHON) -m venv $(QUALITY)
	$(QUALITY)/bin/python -m pip install --quiet --disable-pip-version-check "$(TORCH)" -e ".[bench-quality]"
	$(QUALITY)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "hebo==0.3.6"
	@touch $@

$(BIN)/python:
	$(fit_python)
	$(PYTHON) -m venv $(VENV)

define fit_python
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "Pilotune needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	|| { echo "This Python cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
endef
