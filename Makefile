# Everything a person does with this repository. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
WHEELS_PYTHON ?= 3.12.0
WHEELS_MACHINE ?= $(shell uname -m)
WHEELS = $(BIN)/python images/wheels.py --python $(WHEELS_PYTHON) --machine $(WHEELS_MACHINE) --pip "$(PYTHON) -m pip"
ON_CLUSTER := PYTHONPATH=tests $(BIN)/python -m support.cluster

.PHONY: help install generate demo demo-interference test test-long wheels cover-changed mutate check format simulate bench bench-cluster audit lock \
  clean e2e e2e-full cluster-build cluster-up cluster-down cluster-status

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(READY) ## Install everything into .venv (with uv where it is there, else venv and pip)

$(READY): requirements.lock operator/pyproject.toml runtime/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is older than Python 3.11; install a newer one and run: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@echo "Installing into $(VENV) (about half a minute the first time)"
	@rm -rf $(VENV)
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --python "$$(command -v $(PYTHON))" $(VENV) && \
	  VIRTUAL_ENV=$(VENV) uv pip install --quiet --compile-bytecode --no-deps --require-hashes -r requirements.lock && \
	  VIRTUAL_ENV=$(VENV) uv pip install --quiet --no-deps --no-build-isolation -e runtime -e operator; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e runtime -e operator; \
	fi
	@$(BIN)/python -m compileall -q runtime/src operator/src  # a pod that must compile itself starts a second later
	@touch $@

generate: $(READY) ## Write what is made from the code: the resource's definition, the chart's copy of it, its README
	@mkdir -p crds
	$(BIN)/memorystack crd > crds/memorystacks.memorystack.dev.yaml
	$(BIN)/python charts/generate.py

demo: $(READY) ## Run a stack and watch a good flag promoted and a bad one taken back (about five minutes)
	@$(BIN)/memorystack demo

demo-interference: $(READY) ## See a sick environment told from a flag that makes everybody sick (about ten minutes)
	@$(BIN)/memorystack demo-interference

test: $(READY) ## Run all tests with branch coverage, but the few that take minutes each
	@rm -f .coverage .coverage.*
	@$(ON_CLUSTER) build >/dev/null
	$(BIN)/python -m pytest -m "not long" -n 3 --dist loadfile --cov --cov-report= $(ARGS)
	$(BIN)/python -m coverage report

test-long: $(READY) ## Run the tests that take minutes each: the switchback, and an operator killed after each of its writes
	@$(ON_CLUSTER) build >/dev/null
	$(BIN)/python -m pytest -m long -n 2 --dist loadfile tests/cluster

wheels: $(READY) ## Fetch by hash what the images are made of, for WHEELS_PYTHON and WHEELS_MACHINE, into dist/wheels
	@echo "Fetching wheels for Python $(WHEELS_PYTHON) on $(WHEELS_MACHINE) (half a minute)"
	@$(WHEELS) images/runtime.lock dist/wheels/runtime runtime
	@$(WHEELS) images/operator.lock dist/wheels/operator runtime operator

# The last commit that is a day older than HEAD, by the commits' own dates: a clone gives the same answer on any day.
BASE ?= $(shell git rev-list -1 --before=$$(( $$(git show -s --format=%ct HEAD) - 86400 )) HEAD)

cover-changed: $(READY) ## After make test: 95 % of the lines changed since BASE=<revision> (a day before HEAD) are covered
	@test -n "$(BASE)" || { echo "make cover-changed: no commit is a day older than HEAD; name one: make cover-changed BASE=<revision>" >&2; exit 2; }
	@test -f .coverage || { echo "make cover-changed: run make test first, it measures the coverage" >&2; exit 2; }
	@git log -1 --format='Lines changed since %h of %ci (%s)' $(BASE)
	$(BIN)/python -m coverage xml -q -o coverage.xml --fail-under 0
	$(BIN)/diff-cover coverage.xml --compare-branch $(BASE) --diff-range-notation .. --fail-under 95

mutate: $(READY) ## Change code in many small ways and see whether tests notice: make mutate PATHS=core SAMPLE=40 (without SAMPLE all: hours; STALE=1: what changed)
	PYTHONPATH=tests $(BIN)/python -m support.mutation $(PATHS) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) $(if $(STALE),--stale)

E2E = PYTHONPATH=tests $(BIN)/python -m e2e $(if $(KUBECONFIG),--kubeconfig $(KUBECONFIG)) $(if $(CLUSTER),--cluster $(CLUSTER))

e2e: $(READY) ## As root: tell the whole story on a real node, by helm and kubectl (nine minutes; KUBECONFIG=FILE: on that cluster; CLUSTER=kind)
	@$(E2E) $(ARGS)

e2e-full: $(READY) ## With autoscaling, an upgrade and a restart in it, by Helm 4, and the long tests (half an hour); writes docs/reports/e2e-full.json
	@$(E2E) --story full --report docs/reports/e2e-full.json $(ARGS)
	@$(MAKE) test-long
	MEMORYSTACK_TEST_HELM=helm4 $(BIN)/python -m pytest -n 2 --dist loadfile tests/chart

cluster-build: $(READY) ## Build etcd, Kubernetes and helm into ~/.cache/memorystack (minutes, once); NODE=1 (as root): a node's needs, too
	@$(ON_CLUSTER) build $(if $(NODE),--node) $(ARGS)

cluster-up: $(READY) ## Bring up a real control plane, without root; NODE=1 (as root): with kubelet, containerd and our images
	@$(ON_CLUSTER) up $(if $(NODE),--node) $(ARGS)

cluster-down: $(READY) ## End it and remove all that it made, also after a crash
	@$(ON_CLUSTER) down $(ARGS)

cluster-status: $(READY) ## Say whether it is up
	@$(ON_CLUSTER) status $(ARGS)

check: $(READY) ## Format, lint, types, layers, secrets
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --baseline .secrets.baseline

format: $(READY) ## Format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

simulate: $(READY) ## Simulate the verdict and write docs/simulation.* and its tables (minutes; QUICK=1: about one, writes nothing)
	@PYTHONPATH=tests $(BIN)/python -m simulation

bench: $(READY) ## Measure the speed bars in one run and write bench.json
	PYTHONPATH=tests $(BIN)/python -m load --report bench.json $(ARGS)

bench-cluster: $(READY) ## Measure rollouts on a real API server and node: docs/benchmark.md (an hour; ARGS="--only a", ARGS=--quick)
	@PYTHONPATH=tests $(BIN)/python -m load.cluster $(ARGS)

audit: $(READY) ## Look the locked dependencies up among known vulnerabilities (needs an advisory service)
	$(BIN)/pip-audit --requirement requirements.lock --require-hashes --disable-pip --progress-spinner off

LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --quiet --no-emit-index-url --no-emit-find-links \
	  --no-header --no-annotate --no-emit-package memorystack-runtime --no-emit-package memorystack-operator

lock: ## Make requirements.lock and the images' locks anew from the three pyproject files (needs uv)
	@command -v uv >/dev/null 2>&1 || { echo "make lock needs uv: pip install uv" >&2; exit 2; }
	$(LOCK) --group dev --extra server --extra local --extra cluster runtime/pyproject.toml operator/pyproject.toml -o requirements.lock
	$(LOCK) -c requirements.lock --extra server runtime/pyproject.toml -o images/runtime.lock
	$(LOCK) -c requirements.lock --extra cluster operator/pyproject.toml -o images/operator.lock
	$(LOCK) -c requirements.lock --extra local runtime/pyproject.toml -o tests/cluster/images/engines.lock

clean: ## Remove what the other targets made, .venv and .memorystack included
	rm -rf $(VENV) .memorystack .coverage .coverage.* coverage.xml htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	  .import_linter_cache mutants dist build bench.json e2e.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
