# Needs make and Python 3.11 or newer. Everything else is installed into .venv by the targets themselves.
# Variables: PYTHON, API_PORT, ML_PORT, PLATFORM_DATA_DIR, ENV_FILE, ARGS (passed to pytest and to the checks), SOAK_MINUTES.

PYTHON ?= python3
API_PORT ?= 8000
ML_PORT ?= 8001
PLATFORM_DATA_DIR ?= $(CURDIR)/.data
API_URL ?= http://127.0.0.1:$(API_PORT)
ML_URL ?= http://127.0.0.1:$(ML_PORT)
# For the platform on one machine only: Compose takes its ports from .env, which the environment would overrule.
demo dev memory clean-data verify test: export API_PORT := $(API_PORT)
demo dev memory clean-data verify test: export ML_PORT := $(ML_PORT)
demo dev memory clean-data verify test: export PLATFORM_DATA_DIR := $(PLATFORM_DATA_DIR)
verify: export API_URL := $(API_URL)
verify: export ML_URL := $(ML_URL)

ENV_FILE ?= .env
# Docker, the Compose plugin and Python suffice for these: nothing is installed for them.
COMPOSE := $(PYTHON) -m compose --env-file "$(ENV_FILE)"

VENV := .venv
IN_VENV := $(VENV)/bin/python
PACKAGES := platform-kit api-server ml-service
PIP := $(IN_VENV) -m pip --disable-pip-version-check install --quiet --no-input
COMPILE := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header --no-emit-package platform-kit $(UPGRADE)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

##@ Try it

.PHONY: demo
demo: $(VENV)/.embedded ## Start the platform, run the whole loop on real data, and stop
	@exec $(IN_VENV) -m embedded demo

.PHONY: dev
dev: $(VENV)/.embedded ## Start the platform and stay until Ctrl-C (API_PORT=8000 ML_PORT=8001)
	@exec $(IN_VENV) -m embedded dev

.PHONY: cli
cli: $(VENV)/.embedded ## Run a command of the control plane beside `make dev` (ARGS=verify-audit)
	@exec $(IN_VENV) -m embedded cli -- $(ARGS)

.PHONY: memory
memory: $(VENV)/.embedded ## Show what each process of the running platform keeps in memory
	@exec $(IN_VENV) -m embedded memory

.PHONY: clean-data
clean-data: $(VENV)/.embedded ## Delete all data of the stopped platform (PLATFORM_DATA_DIR)
	@exec $(IN_VENV) -m embedded clean

##@ Run it with Docker Compose (docs/deployment.md)

.PHONY: dev-setup
dev-setup: ## Write .env with fresh secrets; one that is there stays as it is
	@$(COMPOSE) dev-setup

.PHONY: up
up: ## Check the machine, build, start, wait until all is healthy, and print the addresses
	@$(COMPOSE) up

.PHONY: health
health: ## Show the state of every service; fails if one is not well
	@$(COMPOSE) health

.PHONY: ps
ps: ## List the containers
	@$(COMPOSE) run ps

.PHONY: logs
logs: ## Follow the logs (SERVICE=api-server for one)
	@$(COMPOSE) run logs --follow --tail 100 $(SERVICE)

.PHONY: restart
restart: ## Restart all services, or SERVICE=nginx alone
	@$(COMPOSE) run restart $(SERVICE)

.PHONY: down
down: ## Stop everything; the data stay
	@$(COMPOSE) down

.PHONY: clean
clean: ## Stop everything and delete all data, after asking (YES=1 agrees)
	@YES=$(YES) $(COMPOSE) clean

.PHONY: build
build: ## Build our images without starting them
	@$(COMPOSE) run build

.PHONY: migrate
migrate: ## Bring database and storage up to date; make up does it too
	@$(COMPOSE) run build --quiet api-server
	@$(COMPOSE) run run --rm migrate

.PHONY: backup
backup: ## Write database and objects to a new directory (TO=backups)
	@$(COMPOSE) backup --to "$(or $(TO),backups)"

.PHONY: restore
restore: ## Replace all data by a backup, after asking (FROM=backups/...; YES=1 agrees)
	@YES=$(YES) $(COMPOSE) restore $(if $(FROM),"$(FROM)")

.PHONY: scale-ml
scale-ml: ## Run N replicas of ml-service (N=3)
	@$(COMPOSE) scale -- ml-service $(or $(N),$(error How many? make scale-ml N=3))

.PHONY: shell-api
shell-api: ## A shell in the container of api-server
	@$(COMPOSE) run exec api-server bash

.PHONY: shell-ml
shell-ml: ## A shell in the container of ml-service
	@$(COMPOSE) run exec ml-service bash

.PHONY: test-compose
test-compose: $(VENV)/.dev ## Test the Compose platform with real containers: about ten minutes
	@exec $(IN_VENV) -m pytest tests/containers $(ARGS)

##@ Change it

# All tests run in two processes (tests/side_by_side.py), what ARGS picks out in one. Both start others all the time, which
# import the same libraries: compiled once, that takes half the time.
.PHONY: test
test: $(VENV)/.dev ## Run the tests, on real servers (ARGS="-k upload")
	@exec env -u PYTHONDONTWRITEBYTECODE $(IN_VENV) -m pytest -n auto $(ARGS)

.PHONY: soak
soak: $(VENV)/.dev ## Send made-up requests for long (SOAK_MINUTES=40), then break the processes under running jobs
	@SOAK_MINUTES="$(or $(SOAK_MINUTES),40)" exec $(IN_VENV) -m pytest tests/fuzz tests/faults tests/ml_service/jobs/test_endurance.py -s $(ARGS)

.PHONY: bench
bench: $(VENV)/.dev ## Measure one thing against its baseline (WHAT=jobs); benchmarks/README.md says what there is
	@exec $(IN_VENV) -m benchmarks.$(or $(WHAT),$(error Which? make bench WHAT=jobs))

.PHONY: check
check: $(VENV)/.dev ## Check format, style, types, architecture, locks, links and secrets: seconds
	@$(VENV)/bin/ruff format --quiet --check . || { echo 'Some files are not formatted: make fix'; exit 1; }
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo
	@$(IN_VENV) -m pytest -q -m repository tests/stack

.PHONY: access-page
access-page: $(VENV)/.dev ## Write docs/access.md anew, after a change of who may do what
	@$(IN_VENV) -m tests.access.page > docs/access.md.new && mv docs/access.md.new docs/access.md || { rm -f docs/access.md.new; exit 1; }

.PHONY: fix
fix: $(VENV)/.dev ## Format the code and repair what can be repaired
	@$(VENV)/bin/ruff check --quiet --fix-only .
	@$(VENV)/bin/ruff format .

.PHONY: verify
verify: $(VENV)/.dev ## Check every promise of a running platform over the network (API_URL, ML_URL)
	@exec $(IN_VENV) -m tests.verify $(ARGS)

.PHONY: lock
lock: $(VENV)/.dev ## Resolve the dependencies again (UPGRADE=--upgrade for newer versions)
	$(COMPILE) -o requirements/dev.txt requirements/dev.in requirements/embedded.in $(PACKAGES:%=%/pyproject.toml)
	$(COMPILE) -o requirements/embedded.txt -c requirements/dev.txt requirements/embedded.in $(PACKAGES:%=%/pyproject.toml)
	$(COMPILE) -o requirements/api-server.txt -c requirements/dev.txt api-server/pyproject.toml
	$(COMPILE) -o requirements/ml-service.txt -c requirements/dev.txt ml-service/pyproject.toml

##@ Help

.PHONY: help
help: ## Show this help
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo

# What is installed carries a stamp; a changed lock or package description makes the stamp old.

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo 'Python 3.11 or newer is needed, and "$(PYTHON)" is not. Install one (Debian, Ubuntu: apt-get install python3 python3-venv),'; \
		echo 'or name one: make PYTHON=/path/to/python3.12'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo '"$(PYTHON)" cannot make virtual environments. Install the missing part (Debian, Ubuntu: apt-get install python3-venv).'; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.embedded: $(VENV)/.python requirements/embedded.txt $(PACKAGES:%=%/pyproject.toml)
	@echo 'Installing the platform into $(VENV) (the first time it downloads about 300 MB) ...'
	@$(PIP) --require-hashes --no-compile -r requirements/embedded.txt
	@$(PIP) --no-deps --no-build-isolation $(PACKAGES:%=-e ./%)
	@touch $@

$(VENV)/.dev: $(VENV)/.embedded requirements/dev.txt
	@echo 'Installing the tools for tests and checks into $(VENV) ...'
	@$(PIP) --require-hashes --no-compile -r requirements/dev.txt
	@touch $@
