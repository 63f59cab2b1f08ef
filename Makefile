# Everything runs in a virtual environment of its own: only Python 3.11+ and make are needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
STAMP := $(VENV)/.installed

# Python keeps what it has compiled, since the tests start it hundreds of times.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test check generate check-generated schema docs bench bench-quick bench-soak bench-throttle bench-cluster format clean

help: ## Show what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: $(STAMP) ## Install everything into .venv

$(STAMP): pyproject.toml constraints.txt
	@echo "==> Setting up $(VENV) (a minute or so, once)"
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if v >= (3, 11) else "Python 3.11 or later is needed, this is %d.%d: make PYTHON=python3.12 ..." % v)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

demo: setup ## Make images with the emulator: no key, no cost
	@echo "==> Running the published example and a small batch on the emulator"
	@$(BIN)/python scripts/demo.py

test: check ## Run every check: check, then tests with coverage, then the built wheel
	@echo "==> Running the tests"
	@$(BIN)/python -m pytest -n auto --dist loadgroup --cov --cov-report=term
	@echo "==> Building the wheel, and trying it in a clean environment"
	@$(BIN)/python scripts/try_wheel.py
	@echo "==> All checks passed"

check: setup ## Lint, types, and whether generated/ is what openapi/ gives
	@echo "==> Linting"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "==> Checking types, strictly"
	@$(BIN)/mypy src generated scripts tests examples
	@$(MAKE) --no-print-directory check-generated

generate: setup ## Make generated/ from openapi/
	@$(BIN)/python scripts/regenerate.py

check-generated: setup ## Fail if generated/ is not what openapi/ gives
	@echo "==> Generating afresh, and comparing"
	@$(BIN)/python scripts/regenerate.py --check

# A report of changes is no failure; a source that cannot be used is.
schema: setup ## Say what changed in the published schema: SOURCE=page, file or URL, ARGS=--write or --add
	@$(BIN)/python scripts/update_schema.py $(SOURCE) $(ARGS) || test $$? -lt 3

# Not quiet: then warnings would not count as errors.
docs: setup ## Build the guides and the API reference as a site
	@echo "==> Building the site"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "==> Open site/index.html; with the search: $(BIN)/python -m http.server --directory site"

bench: setup ## Measure against peers, as ratios (half an hour)
	@PYTHONPATH=scripts $(BIN)/python -m bench $(BENCH)

bench-quick: setup ## The same in a minute, less exact
	@PYTHONPATH=scripts $(BIN)/python -m bench --quick $(BENCH)

bench-throttle: setup ## Measure the throttle in virtual time, and write docs/throttle.md (two minutes)
	@PYTHONPATH=scripts:tests $(BIN)/python -m bench.refusals

bench-cluster: setup ## Model large batches, measure a small cluster, and write docs/cluster.md (two minutes)
	@PYTHONPATH=scripts $(BIN)/python -m bench.cluster_model
	@PYTHONPATH=scripts $(BIN)/python -m bench.cluster

bench-soak: setup ## 100,000 images through one client: does memory stay flat? (minutes)
	@PYTHONPATH=scripts $(BIN)/python -m bench.soak $(BENCH)

format: setup ## Format the code
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

clean: ## Remove what was made here, and the virtual environment
	rm -rf $(VENV) dist build site demo-images .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
