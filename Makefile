# The project's commands. `make help` lists them.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PORT ?= 8000
export PORT

.DEFAULT_GOAL := help
.PHONY: help run test test-cluster drills check audit bench bench-growth bench-soak clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: $(VENV)/.installed ## Set up and start everything: API, worker, scheduler, embedded Redis and SQLite
	@exec $(BIN)/farmlokal up

# Two at a time, a file at a time: most tests wait for servers more than they compute.
test: $(VENV)/.installed-dev ## Set up and run all tests (they start their own MariaDB and Redis)
	@# What compares times runs alone, first; 5: nothing of it was asked for.
	$(BIN)/pytest -m alone $(PYTEST_ARGS) || [ $$? -eq 5 ]
	$(BIN)/pytest -m "not alone" -n 2 --dist loadfile $(PYTEST_ARGS)

test-cluster: $(VENV)/.installed-dev ## Run what touches Redis on a real cluster of three nodes
	TEST_REDIS=cluster $(BIN)/pytest tests/integration -n 2 --dist loadfile $(PYTEST_ARGS)

# Serially: drills judge times, and break what they stand on.
drills: $(VENV)/.installed-dev ## Break everything under load, and print what came of it
	$(BIN)/pytest tests/drills --full-drills -m "not alone" $(PYTEST_ARGS)

check: $(VENV)/.installed-dev ## Lint, types and room contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory audit

audit: $(VENV)/bin/python ## Look up what is known against the pinned packages; says so when it cannot
	@# In an environment of its own: its dependencies are none of ours.
	@test -x $(VENV)/audit/bin/pip-audit || { $(BIN)/python -m venv $(VENV)/audit \
		&& $(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.10,<3'; } \
		> $(VENV)/audit.log 2>&1 || true
	@$(BIN)/python -m ops.audit $(VENV)/audit/bin/pip-audit

bench: $(VENV)/.installed-dev ## Measure, side by side in one run (BENCH_ARGS="--only list-hit,zipf")
	$(BIN)/python -m ops.bench $(BENCH_ARGS)

bench-growth: $(VENV)/.installed-dev ## 100 thousand, 1 and 10 million products side by side (hours)
	$(BIN)/python -m ops.bench.growth $(GROWTH_ARGS)

bench-soak: $(VENV)/.installed-dev ## A quarter of an hour of mixed load: does anything grow?
	$(BIN)/python -m ops.bench.soak $(SOAK_ARGS)

clean: ## Remove the environment and the embedded data
	rm -rf $(VENV) .farmlokal

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "FarmLokal needs Python 3.11 or newer on PATH." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.installed
