# `make demo` and `make test` set up everything they need; nothing else is required first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PACKAGES := -m miex -m miex.__main__ $(addprefix -p miex.,pipeline generators au_sources datasets flows)
# No telemetry of the libraries, no temporary files beside the sources.
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false

.PHONY: demo test test-slow check bench docs clean

demo: $(READY)
	$(BIN)/miex demo --out out/demo

test: $(READY)
	$(BIN)/python -m pytest -m "not slow and not weights and not licensed and not gpu"

test-slow: $(READY)
	$(BIN)/python -m pytest -m "slow and not weights and not licensed and not gpu"

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	MYPYPATH=.typing $(BIN)/mypy $(PACKAGES)

bench: $(READY)
	for b in tests/benchmarks/bench_*.py; do $(BIN)/python $$b || exit 1; done

# The site lies in out/site and opens from disk.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(READY): pyproject.toml constraints.txt $(wildcard kernels/*) | .typing/miex
	test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/pip install -q uv; }
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -e '.[dev]' -c constraints.txt
	touch $@

# mypy and editors see the repository as the package `miex` through this link.
.typing/miex:
	mkdir -p .typing && ln -sfn .. $@

clean:
	rm -rf $(VENV) .typing build dist out *.egg-info
