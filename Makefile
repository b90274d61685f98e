# All tasks for people and for CI. `make` alone lists them. The first task that needs .venv creates
# it; this takes only Python 3.11 or newer, with pip and venv. `make clean` removes it.

.DEFAULT_GOAL := help

# The first of these that is Python 3.11 or newer is used. To name another: `make PYTHON=… test`.
PYTHON  ?= python3.11 python3 python3.14 python3.13 python3.12
# Processes that run tests. `make test WORKERS=0` uses a single process, so that a debugger works.
WORKERS ?= 2
# Arguments for pytest: `make test ARGS='-k fork'`.
ARGS    ?=

# Tests stay in order on a worker, which takes over from the other when it has none left.
SHARED    := -n $(WORKERS) --dist worksteal
ALL_NIGHT  = $(SHARED) --durations=30 -m nightly
BIN       := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test lint format docs nightly soak mutants pins bench peers kernels clean help

demo: $(INSTALLED) ## find a real historical bug, in seconds
	$(BIN)/rmapcheck demo

test: $(INSTALLED) ## run the tests and replay every saved counterexample
	$(BIN)/python -m pytest $(SHARED) --durations=10 $(ARGS)

lint: $(INSTALLED) ## check style, formatting, types and who imports whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## format the code, and fix what ruff can fix
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

docs: $(INSTALLED) ## regenerate docs/schemes and the tables of docs/reference from the code
	$(BIN)/python -m rmapcheck.tables docs

nightly: $(INSTALLED) ## run the tests that take minutes, with many more examples
	$(BIN)/python -m pytest $(ALL_NIGHT) --hypothesis-profile=nightly $(ARGS)

soak: $(INSTALLED) ## run the nightly tests for hours: all pairs of features, longer random runs
	$(BIN)/python -m pytest $(ALL_NIGHT) --hypothesis-profile=soak $(ARGS)

mutants: $(INSTALLED) ## verify one-line mutants of schemes and of the MM core; an hour
	$(BIN)/python -m tests.mutation.report $(ARGS)

pins: $(INSTALLED) ## search the pinned scopes again, write tests/pinned.toml, show what changed
	$(BIN)/python -m pytest -q -m pinned --regenerate-pins $(ARGS)
	git --no-pager diff -- tests/pinned.toml

bench: $(INSTALLED) ## run the benchmarks, benchmarks/bench_*.py
	@set -e; for script in benchmarks/bench_*.py; do \
	    if [ ! -e "$$script" ]; then echo "there is no $$script"; exit 1; fi; \
	    echo "== $$script"; $(BIN)/python "$$script"; \
	done

kernels: $(INSTALLED) ## build user-mode kernels with and without a fix, and compare them
	$(BIN)/rmapcheck kernel build $(ARGS)

peers: $(INSTALLED) ## compare the search with SPIN, rumur and (with TLC_JAR) TLC; 20 minutes
	$(BIN)/python benchmarks/peers/run.py

clean: ## remove .venv, builds and caches
	rm -rf .venv build dist *.egg-info .hypothesis
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

# Install again only if pyproject.toml has changed: the install is editable, so changes to code
# need no new install.
$(INSTALLED): pyproject.toml
	@set -e; python=; \
	for candidate in $(PYTHON); do \
	    if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	    then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "rmapcheck needs Python 3.11 or newer, but none of these is: $(PYTHON)." >&2; \
	    echo "Name one with: make PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	    echo "creating .venv with $$python"; $$python -m venv --clear .venv; }
	@echo "installing rmapcheck and its tools into .venv"
	@$(BIN)/python -m pip install -q -q --disable-pip-version-check --editable '.[dev]'
	@touch $@
