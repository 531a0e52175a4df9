# make test    set up and run all tests          make demo    set up and run the benchmark of every family
# make speed   time cotan beside its peers       make lint    ruff and mypy
# make gallery draw the pictures of docs/gallery.md
#
# TORCH_INDEX=URL takes torch from another package index, such as PyTorch's own index of CPU builds.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH_INDEX ?=
TORCH := $(shell grep '^torch==' constraints.txt)
READY := $(VENV)/.installed

.PHONY: install test demo speed gallery lint clean

install: $(READY)

$(READY): pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (once; a few minutes, most of it torch)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fast,test]'
	@touch $@

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

demo: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/cotan bench demo

speed: $(READY)
	@for script in tests/benchmarks/bench_*.py; do echo "== $$script"; OMP_NUM_THREADS=2 $(BIN)/python $$script || exit 1; done

gallery: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python docs/gallery.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist report runs .pytest_cache .mypy_cache .ruff_cache
