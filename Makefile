# Two commands for a newcomer: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PYTHONPATH := operator:.

.DEFAULT_GOAL := help
.PHONY: help demo test test-versions check border docs docs-serve generate lock cluster cluster-down venv format bench bench-admission bench-border bench-gate drill casts dashboards clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: venv  ## A real cluster, a real model inside the border, and every way across it refused
	@$(BIN)/python -m e2e.demo

PROGRAMS := tests/gate tests/programs
API := tests/apiserver tests/border tests/chart
APART := tests/apiserver tests/border $(PROGRAMS)
# One suite after the other, so that the servers of one are gone before the next: a server costs while nobody asks it.
RUN_API := for suite in $(API); do $(BIN)/python -m pytest $$suite -m apiserver --numprocesses 2 --dist loadfile || failed=1; done
ENGINES := e2e/engines e2e/gate
# Bailiwick has to act within 15 s there.
DRILLS := e2e/operate/test_drills.py
# What waits for an operator is alone: beside a cluster of three nodes, two processors leave leases too little time. Suites
# of the cluster wait for most of theirs, so those that need no operator run beside them.
test: check  ## Everything that this machine can run: units, API server, engines, real cluster
	@$(BIN)/python -m e2e.cluster binaries
	@$(BIN)/python -m e2e.cluster.images all
	@failed=0; $(RUN_API); \
	$(BIN)/python -m pytest $(DRILLS) || failed=1; \
	mkdir -p .run/logs; log=.run/logs/beside-the-cluster.log; \
	$(BIN)/python -m pytest tests/border $(PROGRAMS) $(ENGINES) -m "not apiserver" > $$log 2>&1 & \
	beside=$$!; trap 'kill $$beside 2> /dev/null || true' EXIT; \
	$(BIN)/python -m pytest e2e $(addprefix --ignore=,$(ENGINES) $(DRILLS)) || failed=1; \
	wait $$beside || failed=1; tail -n 200 $$log; \
	grep -hE '^(FAILED|ERROR) ' $$log || true; exit $$failed

KUBERNETES ?= 1.34 1.35 1.36 1.37
test-versions: venv  ## The API suites on the API servers of Kubernetes 1.34 to 1.37, or of KUBERNETES=1.34 alone
	@failed=0; for minor in $(KUBERNETES); do \
	  echo "Kubernetes $$minor"; \
	  export KUBERNETES=$$minor; $(RUN_API); \
	done; exit $$failed

check: venv  ## Format, lint, types, import contracts, generated files, unit tests: under a minute
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache > .run/lint-imports.log || { cat .run/lint-imports.log; exit 1; }
	@$(BIN)/python -m bailiwick.cli.generate --check
	@$(BIN)/python -m pytest tests -m "not apiserver" $(APART:%=--ignore=%) -q --numprocesses 2 --dist loadfile

format: venv  ## Format the code and mend what the linter can
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

generate: venv  ## Write crds/, the chart's copy of them, and docs/reference/
	@$(BIN)/python -m bailiwick.cli.generate

docs: venv  ## The site of docs/, into .run/site: every link leads somewhere, nothing comes from another host
	@$(BIN)/python -m handbook build

docs-serve: venv  ## The same, shown on http://127.0.0.1:8000/
	@$(BIN)/python -m handbook serve

border: venv  ## Every known way around the border, tried on the real cluster; writes the table of docs/border.md
	@BORDER_TABLE=write $(BIN)/python -m pytest e2e/border

cluster: venv  ## Bring up the real cluster: a control plane, a node inside, a node abroad
	@$(BIN)/python -m e2e.cluster up

cluster-down: venv  ## Stop it, and only what it started
	@$(BIN)/python -m e2e.cluster down

bench: venv  ## 1,000 models at once, beside a bare client
	@$(BIN)/python -m e2e.bench.models

bench-admission: venv  ## What the in-tree policies add to the creation of a pod
	@$(BIN)/python -m e2e.bench.admission

bench-border: venv  ## How soon the border moves, with 500 nodes and 5,000 pods
	@$(BIN)/python -m e2e.bench.border

bench-gate: venv  ## What the gate adds to the time to the first token, with 50 streams under way
	@$(BIN)/python -m e2e.bench.gate

drill: venv  ## Faults while models come: how soon Bailiwick acts again, what was lost or done twice
	@$(BIN)/python -m e2e.operate.drills

casts: venv  ## What `bailiwick` shows, from real runs, into docs/: pictures, their text, and a cast
	@$(BIN)/python -m e2e.casts

dashboards: venv  ## Every dashboard as a picture, into .run/dashboards: recorded series, a real Prometheus, Perses' panels
	@$(BIN)/python -m e2e.dashboards

venv: $(STAMP)  ## The virtual environment, from hashed lists

$(STAMP): requirements/dev.txt pyproject.toml
	@mkdir -p .run
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the development environment ($(VENV))"
	@$(BIN)/python -m pip --quiet --disable-pip-version-check install --require-hashes --no-deps -r requirements/dev.txt
	@$(BIN)/python -m pip --quiet --disable-pip-version-check install --no-deps --no-build-isolation --editable .
	@touch $@

lock: venv  ## Compile the hashed requirement lists from pyproject.toml, without any registry host
	@$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements/operator.txt
	@$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header pyproject.toml --group dev \
		-c requirements/operator.txt -o requirements/dev.txt

clean:  ## Remove the virtual environment and caches of tools (not the cluster, not its cache)
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
