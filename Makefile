# What this project can do for you. `make` alone prints it.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# Root of lake, stores, reports and Airflow's own files. Point it elsewhere for your own data.
export PINNERSAGE_HOME ?= $(CURDIR)/.demo/home
# Only Great Expectations asks: no usage data leaves this machine.
export GX_ANALYTICS_ENABLED := false

PY := .venv/bin/python
PYTEST := $(PY) -m pytest

.PHONY: help
help: ## Print this
	@echo "make demo and make test work on a fresh machine with make and Python 3.11 to 3.13."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: env
env: ## Make .venv from the locked versions (the others do it when needed)
	@sh scripts/bootstrap.sh

.PHONY: demo
demo: env ## Real data, a day through Airflow, an index, recommendations for a real user
	@$(PY) scripts/demo.py

.PHONY: test
test: env ## All tests that need nothing but Python; what is left out is named
	@$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder -m "not service"
	@echo "Left out: tests marked service (redis-server, PostgreSQL, chromium, Java). They run with: make services test-services"

.PHONY: services
services: ## Install what test-services needs, as Debian packages (asks for root)
	@sh scripts/services.sh

.PHONY: test-services
test-services: env ## Tests against redis-server, PostgreSQL and a browser
	@$(PYTEST) -m service

.PHONY: chaos
chaos: env ## Kill every step fifty times, and a worker and the scheduler in a backfill of 30 days
	@CHAOS_KILLS=50 $(PYTEST) tests/test_chaos.py
	@BACKFILL_DAYS=30 $(PYTEST) -s tests/dags/test_celery.py

.PHONY: check
check: env ## Lint, types, import contracts, SQL, spelling, docs: what CI runs beside the tests
	@sh scripts/check.sh

.PHONY: format
format: env ## Bring code and SQL into form
	@.venv/bin/ruff check -q --fix-only . && .venv/bin/ruff format -q .
	@.venv/bin/sqlfluff fix -q sql

.PHONY: docs
docs: env ## Write the generated pages again: tables, DAGs, settings, commands
	@$(PY) scripts/generate_docs.py

.PHONY: bench
bench: env ## Time kernels, stores and days against peers; ARGS=--quick, or see benchmarks/bench.py
	@$(PY) benchmarks/bench.py $(ARGS)

.PHONY: up
up: env ## Start Airflow's UI and scheduler, and the service; leaves them running
	@$(PY) scripts/airflow_runtime.py up

.PHONY: down
down: env ## Stop them, all children with them
	@$(PY) scripts/airflow_runtime.py down

.PHONY: status
status: env ## Say what runs
	@$(PY) scripts/airflow_runtime.py status

.PHONY: lock
lock: env ## Resolve the versions in requirements/ again
	@sh scripts/lock.sh

.PHONY: clean
clean: ## Remove the demo (not .venv); stop Airflow first
	@if [ -x $(PY) ]; then $(PY) scripts/airflow_runtime.py down; fi
	@rm -rf .demo
