# Everything a developer does starts here: `make` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/consul-nginx-operator
UV_VERSION := 0.13.9
UV := $(CACHE)/uv-$(UV_VERSION)/bin/uv
HARNESS := PYTHONPATH=tests .venv/bin/python -m cluster.harness

.PHONY: help
help: ## list every target
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' \
		| awk -F'\t' '{printf "  %-18s %s\n", $$1, $$2}'

##@ Python environment

.PHONY: venv
venv: .venv/.synced ## the Python environment .venv, from uv.lock

.venv/.synced: uv.lock pyproject.toml | $(UV)
	@echo "Python environment"
	@$(UV) sync --frozen --all-groups --python-preference only-system --no-python-downloads --quiet
	@touch $@

$(UV):
	@echo "uv $(UV_VERSION)"
	@python3 -c 'import ensurepip, venv' 2>/dev/null \
		|| (apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y python3-venv)
	@rm -rf $(CACHE)/uv-$(UV_VERSION) && python3 -m venv $(CACHE)/uv-$(UV_VERSION)
	@$(CACHE)/uv-$(UV_VERSION)/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

##@ Test cluster: CLUSTER_DIR (default .cluster) and CLUSTER_NODES (default 3) are settings

.PHONY: cluster cluster-down cluster-status images nginx-binary consul-binary
cluster: venv ## a real Kubernetes and Consul on this machine (root, Debian)
	@$(HARNESS) up

cluster-down: venv ## take the cluster down, leave nothing
	@$(HARNESS) down

cluster-status: venv ## every component of the cluster: version, state, log
	@$(HARNESS) status

images: venv ## build the project's images; a running cluster gets them
	@$(HARNESS) images

nginx-binary: venv ## provide a real nginx for tests without a cluster, print its path
	@$(HARNESS) nginx

consul-binary: venv ## provide a real Consul for tests without a cluster, print its path
	@$(HARNESS) consul

##@ Benchmarks: figures of one run, beside those of a peer

.PHONY: bench-latency bench-mappings
bench-latency: cluster ## how soon nginx follows Consul, beside consul-template (15 min; CHANGES=100: 3 min)
	@PYTHONPATH=tests .venv/bin/python -m bench --changes $(or $(CHANGES),1000)

bench-mappings: venv ## what 1,000 mappings cost to plan and render, and one change among them (25 s)
	@PYTHONPATH=tests .venv/bin/python -m bench.mappings

##@ Every day

.PHONY: demo check test generate
demo: cluster ## the operator at work on the cluster, live
	@PYTHONPATH=tests .venv/bin/python -m cluster.demo

check: venv ## format, lint, types, layers, unit tests; needs no cluster
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy --no-error-summary
	@.venv/bin/pytest -q tests/unit

test: venv ## everything: unit, real nginx and Consul, the cluster
	@$(MAKE) --no-print-directory cluster nginx-binary consul-binary
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=line test-cluster check test-programs

# What needs no cluster runs, one after the other, beside the tests on it, which mostly wait.
.PHONY: test-programs test-cluster
test-programs:
	@.venv/bin/pytest -q tests/nginx tests/consul --durations=10

test-cluster:
	@.venv/bin/pytest -q tests/cluster --durations=10

generate: venv ## write crds/ and docs/reference/ from the code
	@.venv/bin/python docs/generate.py
