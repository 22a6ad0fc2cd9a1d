# cdrhub: everything that is done often. `make help` lists it.

PYTHON ?= python3
SECONDS ?=
CONFIG ?= config.toml
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEVELOP := $(VENV)/.develop
LOWEST := .venv-lowest
CODE := src tests bench tools

# Python keeps what it compiles: the tests start hundreds of processes, and each of them would compile it all again.
test lowest soak: export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help demo test lowest soak run bench lint format clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(INSTALLED) ## daemon and five simulated phone systems, calls as they land; SECONDS=15 ends by itself
	$(BIN)/cdrhub demo $(if $(SECONDS),--seconds $(SECONDS))

test: $(DEVELOP) ## all tests but the long ones, on real servers; PYTEST_ARGS="-k voicenter"
	$(BIN)/pytest -n 4 -m "not soak" $(PYTEST_ARGS)

lowest: ## the same with the oldest libraries that pyproject.toml allows
	$(PYTHON) tools/make_venv.py $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST) --resolution lowest-direct --editable '.[demo]'
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST) --editable '.[dev]'
	$(LOWEST)/bin/pytest -n 4 -m "not soak" $(PYTEST_ARGS)

soak: $(DEVELOP) ## the long proofs
	$(BIN)/pytest -m soak --hypothesis-profile=other -o faulthandler_timeout=7200 $(PYTEST_ARGS)

run: $(INSTALLED) ## the daemon for real: CONFIG=config.toml
	$(BIN)/cdrhub run --config $(CONFIG)

bench: $(DEVELOP) ## measure against the gates; writes bench/results/*.json
	PYTHONPATH=.:tests $(BIN)/python -m bench

lint: $(DEVELOP) ## ruff, mypy --strict, import-linter, hadolint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

format: $(DEVELOP) ## rewrite the code as ruff wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove what make made
	rm -rf $(VENV) $(LOWEST) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp each for what running needs and for what developing needs; pyproject.toml is what they depend on.

$(BIN)/python:
	$(PYTHON) tools/make_venv.py $(VENV)

$(INSTALLED): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(DEVELOP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(INSTALLED) $@
