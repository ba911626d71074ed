# make serve   set everything up and serve on http://localhost:8000
# make demo    set everything up, transcribe one recording (AUDIO=...), show the result
# make check   set everything up and run the quick checks and tests (for every commit)
# make test    set everything up and run every check and test
# Everything is installed into .venv, from hashed lock files. Outside this folder, only the user's
# cache is written (checkpoints, compiled programs).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
AUDIO ?= tests/demo/demo.ogg
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

# Used if they are beside the repository: the checkpoint, golden files, dev clips.
ifneq ($(wildcard ../shared/golden),)
export MT3_SHARED ?= $(abspath ../shared)
endif
ifneq ($(wildcard ../shared/checkpoints/mt3/checkpoint),)
export MT3_CHECKPOINT ?= $(abspath ../shared/checkpoints/mt3)
endif

# Tests start hundreds of Python processes: each would compile the modules again without this.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: serve demo check test install lint types contracts pytest pytest-quick test-page test-seqio test-ray fix sync-client audit lock clean

serve: install
	@$(BIN)/mt3 serve

demo: install
	@$(BIN)/python deploy/demo.py "$(AUDIO)"

check: lint contracts
	@$(MAKE) --no-print-directory -j2 types pytest-quick

# Tests wait for other processes half of the time, so the three suites run in parallel, and the
# largest one uses four processes.
test: lint types contracts
	@$(MAKE) --no-print-directory test-page
	@$(MAKE) --no-print-directory -j3 test-seqio test-ray pytest

# --- environments -------------------------------------------------------------------------------

install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python %d.%d found; 3.11 or newer is needed: make PYTHON=python3.11 ..." % sys.version_info[:2])'
	@echo "Setting up $(VENV) from requirements.lock (a minute or two, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(PIP_INSTALL) --require-hashes --requirement requirements.lock
	@$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@echo "Compiling the programs for this processor"
	@$(BIN)/python -m mt3_model.hardware
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@echo "Adding the development tools from requirements-dev.lock"
	@$(BIN)/python $(PIP_INSTALL) --require-hashes --requirement requirements-dev.lock
	@touch $@

.venv-seqio/.installed: requirements-seqio.lock pyproject.toml
	@echo "Setting up .venv-seqio from requirements-seqio.lock (TensorFlow: a minute or two, once)"
	@$(PYTHON) -m venv .venv-seqio
	@.venv-seqio/bin/python $(PIP_INSTALL) --require-hashes --requirement requirements-seqio.lock
	@.venv-seqio/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv-ray/.installed: requirements-ray.lock pyproject.toml
	@echo "Setting up .venv-ray from requirements-ray.lock (a minute, once)"
	@$(PYTHON) -m venv .venv-ray
	@.venv-ray/bin/python $(PIP_INSTALL) --require-hashes --requirement requirements-ray.lock
	@.venv-ray/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

# --- checks -------------------------------------------------------------------------------------

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

types: $(VENV)/.installed-dev
	@$(BIN)/basedpyright

contracts: $(VENV)/.installed-dev
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

pytest: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -q -n 4 --dist worksteal --durations=10

# `-m` here replaces the one in pyproject.toml, so its markers are repeated.
QUICK := not slow and not checkpoint and not shared and not benchmark and not seqio and not ray

pytest-quick: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "$(QUICK)" --hypothesis-profile quick \
	  tests/unit tests/properties tests/repository

# Check the page's types and run its unit tests. Without Node or Chromium, a message says what is
# left out. Chromium is installed if that needs no password.
test-page:
	@if command -v npm >/dev/null; then \
	  cd service/web && npm ci --ignore-scripts --no-audit --no-fund --silent \
	    && npm run --silent types && npm run --silent test; \
	else echo "npm is missing: the page's unit tests, its build and axe's rules are not checked"; fi
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing chromium for the tests of the pages"; \
	  apt-get install --quiet --quiet --yes chromium >/dev/null && exit 0; fi; \
	echo "chromium is missing (apt-get install chromium): the pages are not tested in a browser"

test-seqio: .venv-seqio/.installed
	@.venv-seqio/bin/python -m pytest -q -m seqio tests/seqio

test-ray: .venv-ray/.installed
	@.venv-ray/bin/python -m pytest -q -m ray tests/bulk

fix: $(VENV)/.installed-dev
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format .

# Generate service/client/_sync from service/client/_async.
sync-client: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.repository.sync_client

# List known vulnerabilities of the locked packages. Needs the Internet.
audit: $(VENV)/.installed
	@$(PYTHON) -m venv .venv-audit
	@.venv-audit/bin/python $(PIP_INSTALL) pip-audit
	@.venv-audit/bin/pip-audit --require-hashes --disable-pip --requirement requirements.lock

clean:
	rm -rf service/web/node_modules $(VENV) .venv-seqio .venv-ray .venv-audit .pytest_cache .ruff_cache .hypothesis demo_output

# --- lock files ---------------------------------------------------------------------------------
# Requirements with hashes and without addresses; `uv` comes from `pip install uv`.

UV_COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate --no-emit-index-url --no-emit-find-links --quiet

lock:
	$(UV_COMPILE) pyproject.toml --extra dev -o requirements-dev.lock
	$(UV_COMPILE) pyproject.toml --extra server --extra build -c requirements-dev.lock -o requirements.lock
	$(UV_COMPILE) pyproject.toml --extra build --extra cuda -c requirements-dev.lock -o requirements-cuda.lock
	$(UV_COMPILE) pyproject.toml --extra build --extra tpu -c requirements-dev.lock -o requirements-tpu.lock
	$(UV_COMPILE) pyproject.toml --extra seqio tests/seqio/requirements.in -o requirements-seqio.lock
	$(UV_COMPILE) pyproject.toml --extra ray tests/bulk/requirements.in -c requirements-dev.lock -o requirements-ray.lock
