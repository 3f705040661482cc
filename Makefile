# Two commands for a newcomer: `make demo` and `make test`. Needs Python 3.11+; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup collector backends images demo demo-clean test cases fuzz compat faults lint bench dist render clean

help:  ## Show what can be made.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.done  ## Make .venv with everything that development needs.

$(VENV)/.done: pyproject.toml tests/sample_app/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another with PYTHON=...")'
	@echo "setting up $(VENV) (about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/pip install --quiet --group dev --group sample --editable '.[local,cost,fastapi,prometheus,servers]' --editable tests/sample_app
	@touch $@

collector: setup  ## Find, download or build the collector.
	@$(BIN)/theodore-otel collector install

backends: setup  ## Fetch or build the real servers of the tests (once; Go, and Maven with a JDK 17+).
	@cd tests && ../$(BIN)/python -m backends

images: collector  ## Pull, or make where none can be pulled, the stack's images (once; Docker).
	@cd tests && ../$(BIN)/python -m images

demo: collector  ## Observe a sample Theodore and show what arrived.
	@$(BIN)/python tests/demo.py

demo-clean:  ## Stop the demo and delete what it wrote.
	@if [ -x $(BIN)/python ]; then $(BIN)/python tests/demo.py --clean; fi

test: collector  ## Run every test.
	@$(BIN)/pytest

cases: collector  ## Run the tests of everything that once failed, as a table.
	@$(BIN)/pytest -m case

fuzz: collector  ## Try random input, ten minutes for each fuzzer (MINUTES=10).
	@THEODORE_OTEL_FUZZ_SECONDS=$$(( $${MINUTES:-10} * 60 )) $(BIN)/pytest -m fuzz

compat: setup  ## Run other people's tests with and without telemetry, and print what differs (half an hour).
	@cd tests && ../$(BIN)/python -m compat

faults: collector backends  ## Break real servers, queues and disks, and print what was sent, delivered and lost.
	@cd tests && ../$(BIN)/python -m faults

lint: setup  ## Check style, types, and that generated files are current.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m theodore_otel.conventions.generate --check
	@$(BIN)/python -m theodore_otel.render.defaults --check
	@$(BIN)/python -m theodore_otel.render.docs --check
	@$(BIN)/python -m theodore_otel.render.api --check
	@$(BIN)/theodore-otel render -c deploy/local/theodore-otel.yaml --check
	@$(BIN)/theodore-otel render compose -c deploy/compose/theodore-otel.yaml --check
	@$(BIN)/theodore-otel render -c deploy/helm/theodore-otel.yaml helm --check

render: setup  ## Write the generated files again.
	@$(BIN)/python -m theodore_otel.conventions.generate
	@$(BIN)/python -m theodore_otel.render.defaults
	@$(BIN)/python -m theodore_otel.render.docs
	@$(BIN)/python -m theodore_otel.render.api
	@$(BIN)/theodore-otel render -c deploy/local/theodore-otel.yaml
	@$(BIN)/theodore-otel render compose -c deploy/compose/theodore-otel.yaml
	@$(BIN)/theodore-otel render -c deploy/helm/theodore-otel.yaml helm

bench: collector  ## Measure ratios against peers in the same run.
	@for bench in tests/perf/bench_*.py; do $(BIN)/python $$bench || exit 1; done

dist: setup  ## Build the wheel and the source distribution.
	@$(BIN)/python -m build

clean: demo-clean  ## Delete .venv and build output.
	rm -rf $(VENV) dist build
