# Targets; each creates .venv from requirements.txt first and changes nothing outside this folder.
PYTHON ?= python3
CONFIG ?= configs/hnerv/hnerv_bunny_160x320_cpu.py
ARGS   ?=
JOBS   ?= 2
BIN    := .venv/bin
MARKS  := not slow and not gpu and not peer$(if $(VISLAB_DATA),, and not data)

.PHONY: train test test-gpu lint bench bench-gpu clean

.venv/installed: requirements.txt setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

train: .venv/installed  ## train a config: make train CONFIG=configs/... ARGS="--resume"
	$(BIN)/python tools/train.py $(CONFIG) $(ARGS)

test: .venv/installed   ## the default tests: no GPU, no network; `data` tests as well where VISLAB_DATA is set
	$(BIN)/python -m pytest -n $(JOBS) -m "$(MARKS)" $(ARGS)

# GPU_PYTHON=python3 uses an environment that is there, on a machine without network, instead of .venv
GPU_PYTHON ?= $(BIN)/python
GPU_NEEDS  := $(if $(filter $(BIN)/python,$(GPU_PYTHON)),.venv/installed)

test-gpu: $(GPU_NEEDS)   ## the tests that need a GPU; each that is skipped is listed with its reason
	PYTHONPATH=. $(GPU_PYTHON) -m pytest -m gpu -rs $(ARGS)

bench-gpu: $(GPU_NEEDS)  ## time and memory on a GPU, one table; ARGS=--quick tries the script on a CPU
	PYTHONPATH=. $(GPU_PYTHON) benchmarks/gpu.py $(ARGS)

lint: .venv/installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

bench: .venv/installed  ## quick versions of all benchmarks; adds to benchmarks/results.jsonl and RESULTS.md
	set -e; for b in $(sort $(filter-out benchmarks/_%,$(wildcard benchmarks/*.py))); do echo "== $$b"; $(BIN)/python $$b --quick; done

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache
