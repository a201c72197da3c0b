# Needs Python >= 3.11. Each target builds .venv first if it is missing or out of date.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help install run demo test test-slow mutants lint bench chaos lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 12

install: $(STAMP) ## Build .venv from requirements-dev.lock

$(STAMP): requirements-dev.lock setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "MIRT needs Python 3.11 or newer; name one with PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

run: install ## Run everything in one process on http://127.0.0.1:8000 (or PORT=8001)
	@exec $(BIN)/mirt up $(if $(PORT),--port $(PORT))

demo: install ## Play a short conversation; succeeds only if every reply came
	@$(BIN)/mirt demo

test: install ## Run all tests but the slow ones, with real servers
	@unset PYTHONDONTWRITEBYTECODE; code=0; \
	$(BIN)/python -m pytest -n 3 --dist worksteal -q -m "not alone and not slow" || code=$$?; \
	$(BIN)/python -m pytest -q -m "alone and not slow" || code=$$?; \
	exit $$code

test-slow: install ## Run the tests that take minutes
	@$(BIN)/python -m pytest -q -m slow

mutants: install ## Put each kept bug into a copy of the code; a test must fail (K=lease takes some)
	@$(BIN)/python -m tests.mutants $(if $(K),-k "$(K)")

lint: install ## Check style, types, import directions, words, monitoring and advisories
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(BIN)/python -m tests.prose
	@$(BIN)/python -m tests.promtool
	@$(BIN)/python -m tests.audit

CONTENDERS := .venv-contenders/.installed

$(CONTENDERS): bench/contenders/requirements.lock
	$(PYTHON) -m venv .venv-contenders
	.venv-contenders/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

bench: install $(CONTENDERS) ## Compare with stock Dramatiq and Celery; QUICK=1 for three minutes, GOALS=1 to fail below the goals
	@$(BIN)/python -m bench $(if $(QUICK),--quick) $(if $(GOALS),--goals)
	@$(if $(QUICK),,$(BIN)/python -m bench.recycling)

chaos: install ## Cause random faults for minutes: make chaos N=5000 CHATS=300 FAULTS=40 SEED=1, or QUICK=1
	@$(BIN)/python -m tests.chaos --messages $(or $(N),$(if $(QUICK),300,5000)) --chats $(or $(CHATS),$(if $(QUICK),30,300)) --faults $(or $(FAULTS),$(if $(QUICK),6,40)) --seed $(or $(SEED),1) $(if $(SABOTAGE),--sabotage $(SABOTAGE))

lock: ## Renew requirements.lock, requirements-dev.lock and requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate --no-header -o requirements.lock setup.cfg
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate --no-header --extra dev -o requirements-dev.lock setup.cfg
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate --no-header -o bench/contenders/requirements.lock bench/contenders/requirements.in
	@{ sed -n '/^#/p' requirements.txt; sed -n '/^[a-z]/s/ \\$$//p' requirements.lock; echo .; } > requirements.new
	@mv requirements.new requirements.txt

clean: ## Remove .venv, build files and caches
	rm -rf $(VENV) .venv-contenders build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
