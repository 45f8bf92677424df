# The two commands are `make demo` and `make test`; both set everything up by themselves.
# `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
JOBS ?= 2
export DRCNET_SHARED_DATA ?= $(abspath ../shared/data)

.PHONY: help demo test lint format setup real-stars builtin-stars clean

help:
	@echo "make demo         simulate, prepare, train, evaluate, report, classify: a few minutes"
	@echo "make test         the whole test suite"
	@echo "make lint         ruff, mypy, numpydoc and codespell"
	@echo "make format       let ruff format and mend what it can"
	@echo "make real-stars   the whole line on real spectra (DRCNET_SHARED_DATA); writes docs/results"
	@echo "make builtin-stars  the built-in stars beside MILES (DRCNET_SHARED_DATA); writes docs/results"
	@echo "make clean        remove what the above made, except .venv"

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "drcnet: wanted Python 3.11 or newer, got $$($(PYTHON) --version); set PYTHON=..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint]'
	@touch $@

setup: $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/drcnet demo demo --config configs/demo.toml --overwrite

test: $(INSTALLED)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m numpydoc.hooks.validate_docstrings $$(git ls-files 'src/*.py')
	$(BIN)/codespell

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

real-stars: $(INSTALLED)
	$(BIN)/drcnet demo real-stars --config configs/real-stars.toml
	cp real-stars/results.md docs/results/real-stars.md

builtin-stars: $(INSTALLED)
	$(BIN)/python benchmarks/synthetic_vs_miles.py $(DRCNET_SHARED_DATA) --out docs/results

clean:
	rm -rf demo real-stars .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -prune -exec rm -rf {} +
