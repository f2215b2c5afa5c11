# Needs git, make and Python 3.11+; everything else is installed into .local/.
PYTHON ?= python3
local = @$(PYTHON) -m tools.local
dev = .local/venvs/dev/bin
# pytest's, where ARGS picks none of a half's tests.
nothing_fits = 5
export PYTHONDONTWRITEBYTECODE = 1

.PHONY: help up down status logs verify redrive admin-key audit-verify demo test unit coverage e2e bench trial check format lock openapi isolation build clean

help: ## these lines
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 12

up: ## start the local cloud, deploy, check, print the URLs   [CLOUD= ENDPOINT= PORT= AUTH= AUTH_MODE= ALERT_WEBHOOKS= PROVIDER_ORDER= PROVIDER_URLS=]
	$(local) up

down: ## stop what `make up` started; its state is kept
	$(local) down

status: ## what runs, and where
	$(local) status

logs: ## follow the local cloud's log, functions included
	$(local) logs

verify: ## check the deployed stack against the template
	$(local) verify

redrive: ## send what ended in a dead-letter queue again
	$(local) redrive

admin-key: ## make and print an admin's key for the local stack   [NAME= TENANT= ROLES= DAYS=]
	$(local) admin-key

audit-verify: ## is the audit as it was sealed?   [API= KEY= TENANT= FROM= TO=]
	@$(PYTHON) -m tools.audit

demo: up ## a flaky service and its alert; a process that dies and is healed; with real times
	@$(PYTHON) -m tools.demo

unit: ## unit, component and contract tests alone
	$(local) dev
	@$(dev)/pytest -n auto --dist loadgroup $(ARGS)

coverage: ## the same, and what they reach; takes half as long again
	$(local) dev
	@$(dev)/pytest -n auto --dist loadgroup --cov --cov-report=term $(ARGS)

e2e: up ## the tests against the deployed stack   [ENDPOINT=]
	$(local) dev
	@$(dev)/pytest tests/e2e -n 2 --dist loadscope -m "not alone" $(ARGS) || [ $$? = $(nothing_fits) ]
	@$(dev)/pytest tests/e2e -m alone $(ARGS) || [ $$? = $(nothing_fits) ]

test: ## all tests   [ENDPOINT=]
	$(MAKE) --no-print-directory unit
	$(MAKE) --no-print-directory e2e

bench: ## what requests cost, against the budgets; writes docs/performance.md   [ARGS=--quick|--check]
	$(local) dev
	@$(dev)/python -m tools.bench $(ARGS)

trial: up ## how fast alerts arrive, and what happens when things break   [ARGS="latency|outage|crash"]
	$(local) dev
	@$(dev)/python -m tools.trial $(ARGS)

check: ## types, lint, imports, template, security
	$(local) dev
	@PATH="$(CURDIR)/$(dev):$$PATH" tools/check

format: ## lay the code out
	$(local) dev
	@$(dev)/ruff format . && $(dev)/ruff check --fix .

openapi: ## write the OpenAPI document from the routes
	$(local) dev
	@$(dev)/python -m tools.openapi

isolation: ## write the isolation matrix into docs/security.md
	$(local) dev
	@$(dev)/python -m tests.isolation

lock: ## pin the packages of pyproject.toml anew
	$(local) lock

build: ## sam build for AWS   [TARGET_PYTHON=3.13 TARGET_ARCHITECTURE=arm64]
	$(local) build

clean: down ## remove everything that was installed, built and stored here
	rm -rf .local .aws-sam
