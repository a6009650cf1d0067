# Each target makes .venv where there is none; python3 (3.11 or newer) and make
# are all that has to be there. demo, test, test-min and bench hand ARGS on:
#
#     make test ARGS="-k coefficients"
#
# bench writes into OUT, bench-out if not given: make bench OUT=elsewhere

PYTHON ?= python3
OUT := bench-out
VENV := .venv
VENV_MIN := .venv-min
INSTALLED := $(VENV)/.installed
INSTALLED_MIN := $(VENV_MIN)/.installed
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

# JAX spreads what one worker does over all cores; more workers than these
# would only take them from one another.
PYTEST := -m pytest -n auto --maxprocesses 4 --dist worksteal

# Most of the time would go to compiling, so most tests are compiled for speed.
QUICK := JAX_DISABLE_MOST_OPTIMIZATIONS=1 \
	XLA_FLAGS="$(XLA_FLAGS) --xla_cpu_use_fusion_emitters=false"

.DEFAULT_GOAL := help
.PHONY: help demo test test-min lint format bench docs clean

help:
	@echo "make demo      compare the methods on a small problem"
	@echo "make test      run the tests and the examples in the docstrings"
	@echo "make test-min  run them with the oldest supported dependencies"
	@echo "make lint      check format, style and types"
	@echo "make format    format, and fix what can be fixed automatically"
	@echo "make bench     measure a step's cost; run studies that need no download"
	@echo "make docs      build docs/_build/html and run the examples in it"
	@echo "make clean     remove what the other targets left, except .venv* and bench-out"

demo: $(INSTALLED)
	$(VENV)/bin/python -m benchmarks demo $(ARGS)

# pytest returns 5 where no test is chosen, as ARGS may do in one of the two.
test: $(INSTALLED)
	$(VENV)/bin/python $(PYTEST) -m usual_compilation $(ARGS); usual=$$?; \
	[ $$usual = 0 ] || $(if $(ARGS),[ $$usual = 5 ] ||) exit $$usual; \
	$(QUICK) $(VENV)/bin/python $(PYTEST) -m "not usual_compilation" $(ARGS); \
	quick=$$?; [ $$quick = 5 ] && exit $$usual; exit $$quick

test-min: $(INSTALLED_MIN)
	$(VENV_MIN)/bin/python $(PYTEST) $(ARGS)

lint: $(INSTALLED)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/pyright

format: $(INSTALLED)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(INSTALLED)
	$(VENV)/bin/python -m benchmarks.step_cost --out $(OUT)
	$(VENV)/bin/python -m benchmarks.gal_cost --out $(OUT)
	$(VENV)/bin/python -m benchmarks.mesh_cost --out $(OUT)
	$(VENV)/bin/python -m benchmarks run all --preset small --out $(OUT) $(ARGS)
	$(VENV)/bin/python -m benchmarks report --out $(OUT)

docs: $(INSTALLED)
	$(VENV)/bin/python -m sphinx -W --keep-going -q docs docs/_build/html
	$(VENV)/bin/python -m sphinx -W -q -b doctest docs docs/_build/doctest

clean:
	rm -rf build demo-out dist docs/_build docs/_results .hypothesis \
		.pytest_cache .ruff_cache
	find optaxmods benchmarks tests -name __pycache__ -prune -exec rm -rf {} +

define require_python
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	"optaxmods needs Python 3.11 or newer, not " + sys.version.split()[0])'
endef

$(INSTALLED): pyproject.toml constraints.txt
	$(require_python)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python $(PIP_INSTALL) -c constraints.txt -e '.[dev]'
	@touch $@

$(INSTALLED_MIN): pyproject.toml constraints-min.txt
	$(require_python)
	$(PYTHON) -m venv $(VENV_MIN)
	$(VENV_MIN)/bin/python $(PIP_INSTALL) -c constraints-min.txt -e '.[test]'
	@touch $@
