# `make run` serves the chat, `make test` runs every check. Both make .venv first when it is missing or out of date.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000

VENV := .venv
BIN := $(VENV)/bin
# A file's tests stay together, because what they share is set up once for each process.
TWO_AT_A_TIME := --numprocesses 2 --dist loadfile
STAMP := $(VENV)/.installed
LOCKS := requirements-dev.txt requirements-data.txt
CODE := cmo app.py scripts tests benchmarks
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --fork-strategy fewest \
	--custom-compile-command "make lock" $(UPGRADE)

.DEFAULT_GOAL := help
.PHONY: help setup run test coverage check bench soak llama lock docs phrases primer clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(STAMP)  ## make .venv with everything the locks name

$(STAMP): pyproject.toml $(LOCKS) Makefile
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("Python 3.11 to 3.13 is needed: make setup PYTHON=python3.11")'
	@echo "Installing into $(VENV); the first time this takes some minutes."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps $(LOCKS:%=-r %)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: setup  ## serve the chat on http://127.0.0.1:8000 (HOST, PORT)
	@# Where CI is set, Chainlit puts a key of its own in the place of OPENAI_API_KEY.
	env -u CI $(BIN)/chainlit run app.py -h --host $(HOST) --port $(PORT)

test: setup check  ## every check and every test but the soak tests
	$(BIN)/python -m pytest -m "not soak" $(TWO_AT_A_TIME)

coverage: setup  ## the same tests with a table of the lines they reach; takes half as long again
	$(BIN)/python -m pytest -m "not soak" --cov=cmo --cov-report=term:skip-covered

check: setup  ## lint, format, types, layers
	$(BIN)/ruff check $(wildcard $(CODE))
	$(BIN)/ruff format --check $(wildcard $(CODE))
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## measure retrieval, evidence and scale
	$(BIN)/python -m benchmarks

soak: setup  ## the long tests
	$(BIN)/python -m pytest -m soak -o timeout=3600

llama: setup  ## install a real model server for its integration test (200 MB)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-llama.txt

lock: setup  ## pin all dependencies anew within pyproject.toml's bounds; UPGRADE=--upgrade for the newest
	$(COMPILE) --output-file requirements.txt pyproject.toml
	$(COMPILE) --constraint requirements.txt --group dev --output-file requirements-dev.txt pyproject.toml
	$(COMPILE) --no-deps --output-file requirements-data.txt requirements-data.in
	$(COMPILE) --no-deps --output-file requirements-llama.txt requirements-llama.in

docs: setup  ## write docs/settings.md and .env.example from cmo/settings.py
	$(BIN)/python scripts/make_docs.py

phrases: setup  ## bring the translations of our own sentences, cmo/translation/phrases/, up to date with the code
	$(BIN)/python scripts/make_phrases.py

primer: setup  ## write the sample PDFs of papers/ from scripts/primer/
	$(BIN)/python scripts/make_primer.py

clean:  ## remove .venv and everything the tools leave behind; papers and index stay
	rm -rf $(VENV) .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
