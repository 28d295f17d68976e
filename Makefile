# Everything a newcomer types. `make help` lists it; each target can be run again at any time.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP)  ## make the virtual environment (.venv, with fleet, lab and pyinfra in it)

$(STAMP): requirements-dev.lock pyproject.toml scripts/setup
	@scripts/setup $(VENV)
	@touch $@

demo: setup  ## bring up three lab hosts, deploy to them, show the proof and one request that answers
	@scripts/demo

lab-down:  ## remove every trace of the lab: machines, mounts, bridge, processes
	@if [ ! -d .lab/hosts ]; then echo "no lab is up here"; \
	 else [ -x $(BIN)/lab ] || $(MAKE) setup; $(BIN)/lab down; fi

lint: setup  ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

test: lint  ## every test: unit, deploy and lab (sets itself up; TESTS=path to narrow)
	@scripts/test $(TESTS)

unit: setup  ## the quick tests only
	@$(BIN)/pytest tests/unit tests/deploy tests/gateway

site: setup  ## the docs as a site, in site/ (works offline)
	@$(BIN)/mkdocs build -q

lock:  ## pin the dependencies again (writes requirements*.lock; needs uv)
	@scripts/lock

.PHONY: help setup demo lab-down lint test unit site lock
