# The one entry for people and CI. Everything is installed into $(VENV), nothing outside of it.
#   make demo       install, run the main job on the embedded phantom edition (under 2 minutes once installed)
#   make test       install, run the quick tests          make test-all   the slow ones too
#   make lint       ruff, mypy, layers                    make bench      speed against the peers, as ratios
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# The torch stack (about 6 GB) serves the network baselines; `make demo EXTRAS=` does without it.
EXTRAS ?= models
# Test processes; 2 is right for the smallest machine that we support.
WORKERS ?= 2
PYTEST = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

comma := ,
empty :=
install_names = $(subst $(empty) ,$(comma),$(strip $(1)))
bracketed = $(if $(strip $(1)),[$(call install_names,$(1))],)

.PHONY: demo install install-test test test-all coverage lint bench clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/installed-$(call install_names,$(EXTRAS)): setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e ".$(call bracketed,$(EXTRAS))"
	touch "$@"

$(VENV)/installed-test-$(call install_names,$(EXTRAS)): setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e ".$(call bracketed,$(EXTRAS) test)"
	touch "$@"

install: $(VENV)/installed-$(call install_names,$(EXTRAS))
install-test: $(VENV)/installed-test-$(call install_names,$(EXTRAS))

demo: install
	$(BIN)/dmseg demo --out demo --jobs 2

test: install-test
	$(PYTEST) -m "not slow and not gpu"

test-all: install-test
	$(PYTEST)

coverage: install-test
	$(PYTEST) -m "not slow and not gpu" --cov --cov-report=term --cov-fail-under=90

lint: install-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf demo dist build .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.*
