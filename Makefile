# Each target makes its environment where there is none; python3 (3.11 or newer)
# and make are all that has to be there. demo, bench and the tests hand ARGS on:
#
#     make test ARGS="-k coefficients"
#
# Tests are run in two parts: as users compile, then those that are compiled for
# speed, to which ARGS_QUICK goes as well.
#
# bench writes into OUT, bench-out if not given: make bench OUT=elsewhere
#
# The newest releases need Python 3.12 or newer: PYTHON_NEWEST, where given, or
# python3 or another of PATH. Where there is none, root on Debian makes the
# release DEBIAN in a folder of its own:
#
#     make test-newest PYTHON_NEWEST=python3.14
#     make test-newest DEBIAN=trixie
#
# They are those of CONSTRAINTS_NEWEST; /dev/null is what the index has today.
# RECORD=1 writes what tests passed into the table of versions in docs.

PYTHON ?= python3
PYTHON_NEWEST ?=
DEBIAN ?= trixie
CONSTRAINTS_NEWEST ?= constraints-newest.txt
RECORD ?=
OUT := bench-out
VENV := .venv
VENV_MIN := .venv-min
VENV_NEWEST := .venv-newest
INSTALLED := $(VENV)/.installed
INSTALLED_MIN := $(VENV_MIN)/.installed
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

# JAX spreads what one worker does over all cores; more workers than these
# would only take them from one another.
PYTEST := -m pytest -n auto --maxprocesses 4 --dist worksteal

# Most of the time would go to compiling, so most tests are compiled for speed.
# XLA ends the process at a flag that it does not know: this one is for the
# release of constraints.txt alone. (Before JAX 0.10 some networks are NaN when
# compiled with few optimizations, so the lower bounds compile as users do.)
QUICK := JAX_DISABLE_MOST_OPTIMIZATIONS=1 \
	XLA_FLAGS="$(XLA_FLAGS) --xla_cpu_use_fusion_emitters=false"
QUICK_NEWEST := JAX_DISABLE_MOST_OPTIMIZATIONS=1

.DEFAULT_GOAL := help
.PHONY: help demo test test-min test-newest install-newest lint format bench \
	docs clean always

help:
	@echo "make demo      compare the methods on a small problem"
	@echo "make test      run the tests and the examples in the docstrings"
	@echo "make test-min  run them with the oldest supported dependencies"
	@echo "make test-newest  run them with the newest releases, on Python 3.12 or newer"
	@echo "make lint      check format, style and types"
	@echo "make format    format, and fix what can be fixed automatically"
	@echo "make bench     measure a step's cost; run studies that need no download"
	@echo "make docs      build docs/_build/html, look at it in a browser, run its examples"
	@echo "make clean     remove what the other targets left but environments and bench-out"

demo: $(INSTALLED)
	$(VENV)/bin/python -m benchmarks demo $(ARGS)

# $(call run_tests,PYTHON,QUICK): in two runs, as users compile and for speed.
# pytest returns 5 where no test is chosen, as ARGS may do in one of the two.
define run_tests
@rm -f build/tests/usual.xml build/tests/quick.xml; \
	$(1) $(PYTEST) -m usual_compilation --junitxml=build/tests/usual.xml $(ARGS); \
	usual=$$?; \
	$(2) $(1) $(PYTEST) -m "not usual_compilation" \
	--junitxml=build/tests/quick.xml $(ARGS) $(ARGS_QUICK); quick=$$?; \
	$(call record,$(1),build/tests/usual.xml build/tests/quick.xml) \
	for code in $$usual $$quick; do \
	[ $$code = 0 ] || $(if $(ARGS),[ $$code = 5 ] ||) exit $$code; done; \
	[ $$usual$$quick != 55 ]
endef

# A part of the tests is no line of the table.
record = $(if $(RECORD),$(if $(ARGS)$(ARGS_QUICK),,\
	$(1) docs/record_versions.py $(2);))

test: $(INSTALLED)
	$(call run_tests,$(VENV)/bin/python,$(QUICK))

test-min: $(INSTALLED_MIN)
	@rm -f build/tests/min.xml; \
	$(VENV_MIN)/bin/python $(PYTEST) --junitxml=build/tests/min.xml $(ARGS); \
	code=$$?; $(call record,$(VENV_MIN)/bin/python,build/tests/min.xml) \
	exit $$code

# The first of these that is new enough.
is_new := -c "import sys; sys.exit(sys.version_info < (3, 12))" 2>/dev/null
FOUND_NEWEST = $(or $(PYTHON_NEWEST),$(shell for python in $(PYTHON) \
	python3.14 python3.13 python3.12; do \
	$$python $(is_new) && echo $$python && break; done))
# Of another Python or other constraints an environment is made anew.
INSTALLED_NEWEST = $(VENV_NEWEST)/.installed-$(shell \
	(cat $(CONSTRAINTS_NEWEST); $(FOUND_NEWEST) -VV) | cksum | cut -d " " -f 1)

# Inside of the release that in-debian makes, this target finds its Python.
test-newest:
	$(if $(FOUND_NEWEST),\
		@$(MAKE) --no-print-directory install-newest,\
		@.ci/in-debian $(DEBIAN) $(MAKE) --no-print-directory test-newest \
			PYTHON=python3 VENV_NEWEST=.venv-$(DEBIAN))
	$(if $(FOUND_NEWEST),\
		$(call run_tests,$(VENV_NEWEST)/bin/python,$(QUICK_NEWEST)))

install-newest:
	@$(FOUND_NEWEST) $(is_new) || { echo "PYTHON_NEWEST must be Python 3.12 or" \
		"newer, not $(FOUND_NEWEST)." >&2; exit 1; }
	@$(MAKE) --no-print-directory $(INSTALLED_NEWEST)

lint: $(INSTALLED)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/pyright

format: $(INSTALLED)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(INSTALLED)
	$(VENV)/bin/python -m benchmarks.costs step --out $(OUT)
	$(VENV)/bin/python -m benchmarks.costs gal --out $(OUT)
	$(VENV)/bin/python -m benchmarks.costs mesh --out $(OUT)
	$(VENV)/bin/python -m benchmarks run all --preset small --out $(OUT) $(ARGS)
	$(VENV)/bin/python -m benchmarks report --out $(OUT)

docs: $(INSTALLED)
	$(VENV)/bin/python -m sphinx -W --keep-going -q docs docs/_build/html
	$(VENV)/bin/python docs/check_site.py docs/_build/html
	$(VENV)/bin/python -m sphinx -W -q -b doctest docs docs/_build/doctest

clean:
	rm -rf build demo-out dist docs/_build docs/_results docs/_notebooks \
		.hypothesis .pytest_cache .ruff_cache
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

# What the index has today can be newer than what it had.
$(VENV_NEWEST)/.installed-%: pyproject.toml $(CONSTRAINTS_NEWEST) \
		$(if $(filter /dev/null,$(CONSTRAINTS_NEWEST)),always)
	rm -rf $(VENV_NEWEST)
	$(FOUND_NEWEST) -m venv $(VENV_NEWEST)
	$(VENV_NEWEST)/bin/python $(PIP_INSTALL) -c $(CONSTRAINTS_NEWEST) \
		-e '.[test,examples]'
	@touch $@

always:
