# The one entry for people and CI. Everything is installed into $(VENV), nothing outside of it.
#   make demo       install, run the main job on the embedded phantom edition (under 2 minutes once installed)
#   make test       install, run the quick tests          make test-all   the slow ones too
#   make lint       ruff, mypy, layers                    make bench      speed against the peers, as ratios
#   make site       the documentation as a site, in site/      make check-site   the same, looked at by a browser
#   make gpu-round  all checks and figures that need a GPU, in eight minutes
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# The torch stack (about 6 GB) serves the network baselines; `make demo EXTRAS=` does without it.
EXTRAS ?= models train
# Test processes; 2 is right for the smallest machine that we support.
WORKERS ?= 2
PYTEST = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

comma := ,
empty :=
install_names = $(subst $(empty) ,$(comma),$(strip $(1)))
bracketed = $(if $(strip $(1)),[$(call install_names,$(1))],)

PEERS := benchmarks/.venv
BENCHMARKS := $(patsubst benchmarks/bench_%.py,bench-%,$(wildcard benchmarks/bench_*.py))

.PHONY: demo install install-test test test-all coverage lint bench gpu-round site check-site clean

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

# The docs as a site; a broken link or anchor is an error. It reads the code without importing it.
.venv-site/installed: docs/requirements.txt
	$(PYTHON) -m venv .venv-site
	.venv-site/bin/python -m pip install --quiet -r docs/requirements.txt
	touch "$@"

site: .venv-site/installed
	NO_MKDOCS_2_WARNING=1 .venv-site/bin/mkdocs build --strict --quiet

# The site in a browser: console, requests, accessibility.
check-site: site install-test
	$(BIN)/python -m pytest -q tests/test_site.py

# Speed beside the peers, which live in an environment of their own; one that cannot be installed or imported is
# reported and fails nothing. `make bench-metrics` runs one script, `make bench` all of them.
$(PEERS)/installed: setup.cfg benchmarks/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --upgrade pip
	$(PEERS)/bin/python -m pip install --quiet -e ".$(call bracketed,$(EXTRAS))"
	sed 's/ *#.*//; /^$$/d' benchmarks/requirements.txt | while read -r peer; do \
	  $(PEERS)/bin/python -m pip install --quiet "$$peer" || echo "peer not installed: $$peer"; done
	touch "$@"

bench-%: benchmarks/bench_%.py $(PEERS)/installed
	$(PEERS)/bin/python $<

bench: $(BENCHMARKS)

# Needs no peers: it compares with decoding and encoding alone.
bench-build: install
	$(BIN)/python benchmarks/bench_build.py

# One worker beside two, of one core each, building and evaluating, on a quiet machine. RAW: downloads (default: phantoms); LIMIT: images of
# each dataset that are built, EVALUATE: that are evaluated.
bench-scaling: install
	bench=$$(mktemp -d)/bench && trap 'rm -rf "$${bench%/bench}"' EXIT && \
	export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 && \
	$(BIN)/python benchmarks/bench_build.py --only scaling --keep "$$bench" --limit $(or $(LIMIT),100) $(if $(RAW),--raw $(RAW)) && \
	$(BIN)/python benchmarks/bench_harness.py --scaling "$$bench" --limit $(or $(EVALUATE),20)

# Needs no peers either: it compares with a straightforward loop of its own.
bench-train: install
	$(BIN)/python benchmarks/bench_train.py

bench-click: install-test
	$(BIN)/python benchmarks/bench_click.py

bench-bridge: install
	$(BIN)/python benchmarks/bench_bridge.py

# Needs the extras onnx and openvino. WEIGHTS: the official file of LiteMedSAM.
bench-export: install
	$(BIN)/python benchmarks/bench_export.py lite-medsam $(if $(WEIGHTS),--weights $(WEIGHTS))

# Every check and figure that needs a CUDA device, in at most eight minutes; figures in gpu_round.json.
gpu-round: install-test
	$(BIN)/python benchmarks/gpu_round.py --out gpu_round.json

clean:
	rm -rf demo dist build .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.*
