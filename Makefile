# Two commands for a newcomer: `make demo`, `make test`. `make help` lists the rest.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

venv: $(STAMP)  ## The virtual environment, from hashed lists

$(STAMP): requirements/dev.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip --quiet install --require-hashes --only-binary :all: --no-deps -r requirements/dev.txt
	@$(BIN)/python -m pip --quiet install --no-deps --no-build-isolation --editable . 
	@touch $@

.PHONY: help venv
