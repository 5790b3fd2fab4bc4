# Two commands do everything: `make affinity` is the main job, `make test` checks the project itself.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help affinity shapes walk matrix report reports merge test lint types unit component workflows integration fast-integration defects fast-defects \
	settings fast-settings behaviour image docs environment setup report-tools lock clean distclean

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
RESULTS ?= results/allure-results
# The suite and the programs of its clusters start a second sooner from bytecode that is kept.
unexport PYTHONDONTWRITEBYTECODE

# The cluster; an empty variable means the suite's default.
CLUSTER ?=
KUBERNETES ?=
PROXY_MODE ?=
IP_FAMILY ?=
KUBE_PROXY ?=
KEEP ?=
ARGS ?=
SEED ?=
# How long make walk goes on; empty: ten minutes.
MINUTES ?=
# The legs of make matrix. VERSIONS: names, or all; empty: those in the cache. MODES: empty: every mode.
# FAMILIES: ipv4, ipv6, dual; empty: ipv4 everywhere, and dual for the newest of the versions in each mode.
VERSIONS ?=
MODES ?=
FAMILIES ?=
MATRIX_ARGS := $(if $(KUBE_PROXY),--kube-proxy=$(KUBE_PROXY)) $(ARGS)
OPTIONS := $(if $(CLUSTER),--cluster $(CLUSTER)) $(if $(KUBERNETES),--kubernetes $(KUBERNETES)) \
	$(if $(PROXY_MODE),--proxy-mode $(PROXY_MODE)) $(if $(IP_FAMILY),--ip-family $(IP_FAMILY)) \
	$(if $(KUBE_PROXY),--kube-proxy=$(KUBE_PROXY)) $(if $(KEEP),--keep-cluster)

help: ## this list
	@echo "make TARGET [CLUSTER=kind] [KUBERNETES=1.36] [PROXY_MODE=nftables] [IP_FAMILY=dual] [KUBE_PROXY=path] [KEEP=1] [ARGS='-m C10']"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Only an embedded cluster needs packages on the host; kind and external clusters need the Python environment alone.
affinity: $(if $(filter kind external,$(CLUSTER)),environment,setup) ## check session affinity on a real four-node cluster, started and removed by the run
	@mkdir -p $(dir $(RESULTS))
	$(RUN) -m pytest -m affinity $(OPTIONS) --alluredir $(RESULTS) --clean-alluredir $(ARGS)

shapes: $(if $(filter kind external,$(CLUSTER)),environment,setup) ## compare the rules of generated Services of every shape: the full array, or those of SEED
	$(RUN) -m pytest -m "affinity and shapes" --shapes=$(or $(SEED),full) $(OPTIONS) $(ARGS)

walk: setup ## edit Services at random until a node goes wrong: SEED=4711 MINUTES=30 PROXY_MODE=nftables
	@$(RUN) -m session_affinity walk $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) $(OPTIONS) $(ARGS)

matrix: setup report-tools ## check several legs one after another: VERSIONS='1.36 1.37' MODES=iptables FAMILIES=dual
	@$(RUN) -m ci.matrix run --versions $(VERSIONS) --modes $(MODES) --families $(FAMILIES) -- $(MATRIX_ARGS)

report: report-tools ## generate the HTML report of the last run, and serve it
	@$(RUN) -m ci.matrix report $(if $(filter command line,$(origin RESULTS)),$(RESULTS))

reports: setup ## make kube-proxy's conformance reports in reports/, one a leg: VERSIONS=1.37 MODES=iptables FAMILIES=dual
	@$(RUN) -m ci.reports --versions $(VERSIONS) --modes $(MODES) --families $(FAMILIES)

merge: report-tools ## one report of the legs below RESULTS, judged by the plan for EVENT (CI)
	@$(RUN) -m ci.matrix merge $(RESULTS) --event $(EVENT) --provider $(or $(CLUSTER),kind) -- $(ARGS)

test: lint types unit component workflows fast-integration fast-defects fast-settings ## lint, types, unit tests, workflows, and the suite's own tests on embedded clusters

lint: environment ## ruff, and the import contracts of .importlinter
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/lint-imports --no-logo

types: environment ## mypy, strict
	$(VENV)/bin/mypy

unit: environment ## tests of pure functions: no cluster, no root
	$(RUN) -m pytest tests/unit

component: environment ## tests with shells, curl, and servers on loopback: no cluster, no root
	$(RUN) -m pytest tests/component

integration: setup ## tests that start embedded clusters and damage them, and a kind cluster where that can run
	@$(VENV)/bin/session-affinity cluster build >/dev/null
	$(RUN) -m pytest tests/integration $(ARGS)

fast-integration: setup
	@$(VENV)/bin/session-affinity cluster build >/dev/null
	$(RUN) -m pytest tests/integration -m "not long"

defects: setup ## break a cluster in every way we know, and see the claims fail; ARGS='-k "hangs and datagrams"' selects
	@$(VENV)/bin/session-affinity cluster build >/dev/null
	$(RUN) -m pytest tests/defects $(ARGS)

fast-defects: setup
	$(RUN) -m pytest tests/defects -m fast

settings: setup ## judge healthy clusters with every setting of kube-proxy, in both modes; ARGS='-k "CIDR"' selects
	@$(VENV)/bin/session-affinity cluster build >/dev/null
	$(RUN) -m pytest tests/settings $(ARGS)

fast-settings: setup
	$(RUN) -m pytest tests/settings -m fast

behaviour: setup ## inject the same defects and check behaviour alone; updates the table in docs/claims.md
	@$(VENV)/bin/session-affinity cluster build >/dev/null
	$(RUN) -m pytest tests/defects --behaviour $(ARGS)
	$(RUN) -m ci.claims_page

ARCHITECTURES ?=
image: environment ## build the container image as an OCI archive, dist/image.tar: ARCHITECTURES='amd64 arm64'
	$(RUN) -m ci.image $(ARCHITECTURES:%=--architecture %) $(ARGS)

docs: environment ## write docs/claims.md from the claims that pytest collects, docs/implementations.md from reports/, manifests/job.yaml
	$(RUN) -m ci.claims_page
	$(RUN) -m ci.implementations_page
	$(RUN) -m ci.job_manifest

workflows: environment ## actionlint, zizmor and shellcheck on what CI runs
	@scripts/lint-workflows.sh $(VENV)

environment: ## the Python environment: all that a target without an embedded cluster needs; no root
	@scripts/setup.sh $(PYTHON) $(VENV) python

setup: ## the Python environment, and the system packages that an embedded cluster needs
	@scripts/setup.sh $(PYTHON) $(VENV)

report-tools: environment
	@scripts/report-tools.sh $(VENV)

LOCK := --universal --python-version 3.11 --generate-hashes --quiet
lock: environment ## write requirements.lock, requirements-image.lock and requirements-report.lock from pyproject.toml
	$(VENV)/bin/uv pip compile pyproject.toml --group dev --extra all $(LOCK) --output-file requirements.lock
	$(VENV)/bin/uv pip compile pyproject.toml --extra allure --constraint requirements.lock $(LOCK) \
		--output-file requirements-image.lock
	$(VENV)/bin/uv pip compile --group report $(LOCK) --output-file requirements-report.lock

clean: ## remove what runs leave in this directory
	rm -rf results allure-results allure-report .pytest_cache .mypy_cache .ruff_cache

distclean: clean ## also the environment, the reports' history, kept clusters, and the cache of programs and images
	[ ! -x $(VENV)/bin/session-affinity ] || $(VENV)/bin/session-affinity cluster down --all
	[ ! -x $(VENV)/bin/session-affinity ] || $(VENV)/bin/session-affinity cluster down --provider kind --all
	rm -rf $(VENV) ci/report/node_modules history.jsonl "$${SESSION_AFFINITY_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/session-affinity}"
