# Everything runs in .venv, which the first target that needs it makes. Needs only Python 3.11 or later.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs
BENCH_STAMP := $(VENV)/.installed-bench
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: demo test test-servers lint format bench reproduce docs clean
.DEFAULT_GOAL := test

demo: $(STAMP)
	$(BIN)/filch demo

# One thread of BLAS a worker: workers share the cores already.
test: export OPENBLAS_NUM_THREADS ?= 1
test: export OMP_NUM_THREADS ?= 1
test: $(STAMP)
	$(BIN)/pytest -n auto --maxprocesses 8

# Servers that nobody here wrote; the tests build each one's environment in .venv-servers.
test-servers: $(STAMP)
	$(BIN)/pytest -m servers --timeout 1800 tests/servers

lint: $(STAMP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(BENCH_STAMP)
	$(BIN)/python -m benchmarks

reproduce: $(STAMP)
	$(BIN)/pytest -m reproduce

docs: $(DOCS_STAMP)
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) .venv-servers site dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "filch needs Python 3.11 or later: install one and say  make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml | $(BIN)/python
	$(PIP) -e '.[dev]'
	@touch $@

$(DOCS_STAMP): $(STAMP)
	$(PIP) -e '.[dev,docs]'
	@touch $@

$(BENCH_STAMP): $(STAMP)
	$(PIP) -e '.[dev,bench]'
	@touch $@
