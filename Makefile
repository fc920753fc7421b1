# Slipway's commands. `make help` lists them; `make demo` and `make test` need nothing but this checkout.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:

PY := .venv/bin/python
LEDGER := python3 hack/ledger.py run
# All steps of one call of make, and of the makes below it, are one run of the ledger.
ifndef SLIPWAY_RUN
SLIPWAY_RUN := $(shell date +%Y%m%d%H%M%S)-$(shell echo $$PPID)
endif
export SLIPWAY_RUN
# The chart's tests must not be skipped for want of the helm that was just built.
HELM = SLIPWAY_HELM=$${SLIPWAY_HELM:-$$(python3 hack/cluster/tools.py helm | tail -n 1)}
SHELLS := hack/*.sh hack/demo/*.sh hack/images/steps/* hack/images/engines/ollama-build .ci/run
PYTEST := $(PY) -m pytest
# With CI set they are not skipped for want of the servers that were just built.
SOURCE_TESTS = CI=true $(LEDGER) "source tests" -- $(PYTEST) -q tests/sources
# They wait more than they compute: four workers, each with a control plane of its own. What holds the operator to a
# bound in seconds runs alone.
API_TESTS = $(PYTEST) -q -m "api and not alone" -n 4 --durations=15 tests
API_TESTS_ALONE = $(PYTEST) -q -m "api and alone" tests
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# The demo on a cluster of your own: make demo CONTEXT=kind-slipway
CONTEXT ?=
# The local cluster with the chart and the hub on it, as the tests want it.
define CLUSTER_FOR_TESTS
@$(LEDGER) "images" -- $(MAKE) --no-print-directory images
@$(LEDGER) "cluster" -- $(MAKE) --no-print-directory cluster-test
@$(LEDGER) "install" -- $(PY) hack/demo/install.py
endef
CLUSTER_TESTS := $(PYTEST) -q -m "cluster and not lifecycle" --durations=15 tests/cluster
ENGINE_TESTS := $(PYTEST) -q -m engines --durations=15 tests/engines tests/unit

include hack/cluster/make.mk
include hack/images/make.mk

.PHONY: help
help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort -u | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

.PHONY: bootstrap
bootstrap: ## install what the other commands need (apt packages, Go, the Python environment)
	@bash hack/bootstrap.sh

.PHONY: python-env cluster-able preflight
python-env: # only the Python environment: neither root nor Linux is needed
	@bash hack/bootstrap.sh python
cluster-able: # as bootstrap, but first of all it says who can't run the local cluster
	@bash hack/bootstrap.sh cluster
preflight: cluster-able # what would stop the cluster after all was built is said before
	@$(CLUSTER) preflight

.PHONY: demo
ifeq ($(CONTEXT),)
demo: preflight ## from nothing to a quantised model that answers (CONTEXT=name: on a cluster of yours)
	@$(LEDGER) "cluster tools" -- $(MAKE) --no-print-directory tools
	@$(LEDGER) "images" -- $(MAKE) --no-print-directory images
	@$(LEDGER) "cluster" -- $(MAKE) --no-print-directory cluster
	@$(LEDGER) "install" -- $(PY) hack/demo/install.py
	@$(LEDGER) "demo" --show -- $(PY) -u hack/demo/demo.py
	@python3 hack/ledger.py show
else
demo:
	@bash hack/demo/on-context.sh "$(CONTEXT)"
endif

.PHONY: check
check: python-env ## static checks: format, lint, types, layers, generated files
	@$(LEDGER) "ruff format" -- .venv/bin/ruff format --check .
	@$(LEDGER) "ruff" -- .venv/bin/ruff check .
	@$(LEDGER) "mypy" -- .venv/bin/mypy
	@$(LEDGER) "mypy of hack" -- env MYPYPATH=. .venv/bin/mypy hack
	@$(LEDGER) "import layers" -- .venv/bin/lint-imports
	@$(LEDGER) "crds" -- $(PY) -m slipway crd --check
	@$(LEDGER) "shell syntax" -- bash -c 'for file; do bash -n "$$file" || exit; done' check $(SHELLS)
	@python3 hack/ledger.py show

.PHONY: test
test: preflight ## everything the tests need, then all tests: unit, golden, api, cluster
	@$(LEDGER) "unit and golden tests" -- $(PYTEST) -q -m "not api and not cluster" --ignore=tests/golden/chart --ignore=tests/sources tests
	@$(LEDGER) "cluster tools" -- $(MAKE) --no-print-directory tools tools-test
	@$(HELM) $(LEDGER) "chart tests" -- $(PYTEST) -q tests/golden/chart
	@$(SOURCE_TESTS)
	@$(HELM) $(LEDGER) "api tests" -- $(API_TESTS)
	@$(LEDGER) "api tests in seconds" -- $(API_TESTS_ALONE)
	$(CLUSTER_FOR_TESTS)
	@$(LEDGER) "cluster tests" -- $(CLUSTER_TESTS)
	@$(LEDGER) "cluster lifecycle" -- $(PYTEST) -q -m lifecycle --durations=0 tests/cluster
	@python3 hack/ledger.py show

.PHONY: test-unit test-api test-cluster
test-unit: python-env ## unit and golden tests
	@$(PYTEST) -q -m "not api and not cluster" tests
test-api: bootstrap ## tests on etcd and kube-apiserver
	@$(LEDGER) "cluster tools" -- $(MAKE) --no-print-directory tools
	@$(HELM) $(LEDGER) "api tests" --show -- $(API_TESTS)
	@$(LEDGER) "api tests in seconds" --show -- $(API_TESTS_ALONE)
test-cluster: preflight ## tests on the local cluster, with all that they need; the cluster stays
	@$(LEDGER) "cluster tools" -- $(MAKE) --no-print-directory tools tools-test
	$(CLUSTER_FOR_TESTS)
	@$(LEDGER) "cluster tests" --show -- $(CLUSTER_TESTS)

.PHONY: test-engines test-all
test-engines: preflight ## every engine served for real, fake GPU nodes, LeaderWorkerSets: builds 6 GB of images first
	@$(LEDGER) "cluster tools" -- $(MAKE) --no-print-directory tools tools-test tools-engines
	@$(LEDGER) "images" -- $(MAKE) --no-print-directory images
	@$(LEDGER) "engine images" -- $(MAKE) --no-print-directory engine-images
	@$(LEDGER) "cluster" -- $(MAKE) --no-print-directory cluster-test
	@$(LEDGER) "install" -- $(PY) hack/demo/install.py --engines
	@$(LEDGER) "engine tests" --show -- $(ENGINE_TESTS)
test-all: check test test-engines ## every test that there is

.PHONY: bench
bench: bootstrap ## the figures of docs/benchmarks.md, measured here and now
	@$(PY) hack/bench/bench.py

.PHONY: lock
UPGRADE ?=
lock: python-env ## renew the locked dependencies (UPGRADE=--upgrade takes the newest)
	@UPGRADE="$(UPGRADE)" bash hack/lock.sh

.PHONY: clean
# The cluster's own command ends it, the hub with it; without its Python that is made again first.
clean: ## stop the local cluster and remove what this checkout made (caches stay)
	@[ ! -e /var/lib/slipway-cluster ] || { bash hack/bootstrap.sh python && $(CLUSTER) down --ours; }
	@rm -rf .cluster .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
