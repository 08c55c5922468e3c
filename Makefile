# Everything a developer types. `make help` lists it; operators type `aep-intake --help`.
# Environments are made when a target first needs them, and again when their requirements change.
.DEFAULT_GOAL := help
.SUFFIXES:
SHELL := /bin/sh

# sam build looks for the functions' Python on PATH.
with_python := PATH="$(CURDIR)/.venv/bin:$$PATH"
python := PYTHONPATH=layers/intake:cli .venv/bin/python
sam := $(with_python) SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam

# Whatever the shell says: each process that runs tests would compile all of them anew.
unexport PYTHONDONTWRITEBYTECODE

dev := .venv/.ready
local := $(dev) .venv-stack/.ready .venv-sam/.ready .venv-runtime/.ready
checked := functions layers cli local tests

.PHONY: help run up down quick quick-tests one test lint typecheck check compiled pytest test-page soak soak-stack bench \
	build deploy release requirements docs clean

help: ## this list
	@awk -F ':.*## ' '/^##— / {gsub("##— | —", ""); print "\n" $$0} \
		/^[a-z-]+:.*## / && $$1 != "help" {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##— on this machine —
run: $(local) ## start everything here, send the samples, show what became of each
	@$(python) -m local.run

up: $(local) ## start everything here and leave it running
	@$(python) -m local.up

down: $(dev) ## stop what `make up` started
	@$(python) -m local.down

quick: lint ## the inner loop, two minutes: style, types, unit, a tenth of the schedules; no stack
	@$(MAKE) -j2 typecheck quick-tests

quick-tests: $(dev)
	@HYPOTHESIS_PROFILE=quick $(with_python) $(python) -m pytest tests/unit tests/faults \
		-m "not slow" -n logical --maxprocesses 4 -q $(ARGS)

one: $(local) ## one test, or those of a name: TEST=tests/unit/clock/test_due.py, TEST=lease
	$(if $(TEST),,$(error give TEST=, the path of a test, or a word in the names of some))
	@$(with_python) $(python) -m pytest $(if $(findstring /,$(TEST)),$(TEST),tests/unit tests/faults -k "$(TEST)") $(ARGS)

# The tests of stacks leave room for the rest, which gives way to them.
test: lint ## everything that must pass
	@$(MAKE) -j3 typecheck check pytest

lint: $(dev) ## ruff: rules and format
	$(python) -m ruff check .
	$(python) -m ruff format --check .

typecheck: $(dev) ## mypy, strict
	nice env $(python) -m mypy $(checked)

check: $(dev) ## cfn-lint; the tests of stacks build and deploy with SAM
	nice .venv/bin/cfn-lint --append-rules cfn_lint_serverless.rules -- template.yaml

# Else each of the processes that run tests compiles all of them, at once. They say what is wrong.
compiled: $(dev)
	@$(python) -m pytest --collect-only -qqq > /dev/null || true

pytest: compiled $(local) ## unit, fault and stack tests
	$(with_python) $(python) -m pytest -n auto --maxprocesses 5 $(ARGS)

test-page: $(dev) ## the page in a Chromium of this machine; pictures of it are in .local/page
	$(with_python) $(python) -m pytest -n 0 tests/browser $(ARGS)

soak: $(dev) ## as many random fault schedules in all as asked: SCHEDULES=100000
	$(with_python) $(python) -m pytest -n logical -o faulthandler_timeout=0 tests/faults $(ARGS)

soak-stack: $(local) ## on the stack: 1,500 arrivals and killed workers, a marker of 20,000, one window for 20
	$(with_python) $(python) -m pytest -s -o faulthandler_timeout=0 tests/stack/soak_stack.py $(ARGS)

bench: $(local) ## measure; ARGS=--write keeps the figures in BENCHMARKS.md
	@$(python) -m local.bench $(ARGS)

##— to AWS —
build: $(dev) .venv-sam/.ready ## sam build
	$(sam) build

deploy: build ## sam deploy --guided
	$(sam) deploy --guided

release: build ## dist/aep-intake-VERSION.zip: installs by unzip && sam deploy
	$(python) -m local.release

##— this checkout —
requirements: $(dev) ## pin again what requirements/*.in ask for
	for name in requirements/uv requirements/cli requirements/dev requirements/stack requirements/sam \
			requirements/runtime layers/dependencies/requirements; do \
		.venv-uv/bin/uv pip compile --universal --generate-hashes --no-header --no-annotate \
			--python-version 3.13 --upgrade --quiet --output-file $$name.txt $$name.in || exit 1; \
	done

docs: $(dev) ## write the tables of docs/ that are made from the code
	$(python) -m local.docs --write

clean: ## remove everything made here
	rm -rf .venv .venv-stack .venv-sam .venv-runtime .venv-uv .aws-sam dist .local .hypothesis .mypy_cache \
		.ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# With `aep-intake` as it is here: what is changed in cli/ needs no other installation.
.venv/.ready: requirements/dev.txt requirements/bootstrap.sh pyproject.toml
	@requirements/bootstrap.sh .venv requirements/dev.txt
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-index \
		--no-build-isolation --editable .

.venv-stack/.ready: requirements/stack.txt requirements/bootstrap.sh
	@requirements/bootstrap.sh .venv-stack requirements/stack.txt

.venv-sam/.ready: requirements/sam.txt requirements/bootstrap.sh
	@requirements/bootstrap.sh .venv-sam requirements/sam.txt

# Compiled once, as what is measured there must not depend on who came first.
.venv-runtime/.ready: requirements/runtime.txt requirements/bootstrap.sh
	@requirements/bootstrap.sh .venv-runtime requirements/runtime.txt
	@.venv-runtime/bin/python -m compileall -q .venv-runtime/lib
