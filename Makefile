# make quickstart   the whole story on drawn micrographs, nothing downloaded but the packages
# make test         every test
# make lint         formatting, rules and types
# make install      only the environment, in .venv

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: quickstart test lint install

quickstart: $(READY)
	$(BIN)/micrographia quickstart

test: $(READY)
	$(BIN)/python -m pytest --durations=15

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

install: $(READY)

# The stamp is written last, so its existence means that the environment is whole.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@
