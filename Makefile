# Two words are enough: `make demo` and `make test`. Both set everything up from a bare clone.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# a process for each core, up to four, of one thread each
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n logical --maxprocesses 4
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test test-all lint fast long conformance clean

demo: $(READY)
	$(BIN)/invkit demo

test: lint
	$(PYTEST) --dist worksteal -m "not long and not conformance" --durations=10

test-all: test long

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fast: $(READY)
	$(PYTEST) --dist worksteal -m "not slow and not long and not conformance" --durations=5

long: $(READY)
	$(PYTEST) --dist loadfile -m long --durations=10

# every classification model of torchvision and one of each timm family: half an hour or more
conformance: $(READY)
	$(BIN)/pytest -m conformance -q

$(READY): pyproject.toml requirements-dev.txt $(wildcard plugins/*/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) demo-output
