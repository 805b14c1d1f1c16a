# Every verb of the repository. `make` alone lists them.

PYTHON3 ?= python3
PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest

export PYTHONPATH := .:gen/python
export PYTHONUNBUFFERED := 1
# Whatever the caller's habit: without bytecode every command and every test run compiles all modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup doctor up down status logs restart psql service-token topics mail demo reset proto lint fmt test bench prove fuzz dlq new-service hooks

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## Make or repair .venv and .build (only what a lock change made stale)
	@$(PYTHON3) -m stack.commands.setup

$(PYTHON):
	@$(PYTHON3) -m stack.commands.setup

doctor: setup ## Check Python, ports, disk, memory and what runs; say what to do about it
	@$(PYTHON) -m stack.commands.doctor

up: setup ## Start everything; REPLICAS=todo=2,audit=2 starts more of a service
	@$(PYTHON) -m stack.commands.up

down: ## Stop everything, in reverse order
	@$(PYTHON) -m stack.commands.down

status: $(PYTHON) ## Show state, pid, port, uptime, restarts, memory and health of every program
	@$(PYTHON) -m stack.commands.status

logs: $(PYTHON) ## Show logs; S=todo chooses a program, F=1 follows, N=100 lines
	@$(PYTHON) -m stack.commands.logs $(S)

restart: $(PYTHON) ## Restart S=todo, one replica after the other, each awaited
	@$(PYTHON) -m stack.commands.restart $(S)

psql: $(PYTHON) ## Open the database as S=todo sees it, O=1 as its owner; without S as administrator
	@$(PYTHON) -m stack.commands.psql $(S)

service-token: $(PYTHON) ## Print a token for internal RPCs of CALLEE=auth, signed as CALLER=pomodoro
	@$(PYTHON) -m stack.commands.service_token $(CALLER) $(CALLEE)

topics: $(PYTHON) ## List topics, their messages, and how far each consumer group is behind
	@$(PYTHON) -m stack.commands.topics

mail: $(PYTHON) ## List the mail that services sent; M=1 shows the newest, TO=ada@example.org only hers
	@$(PYTHON) -m stack.commands.mail

demo: $(PYTHON) ## Walk the main journey on the running stack and show every call
	@$(PYTHON) -m stack.commands.demo

reset: $(PYTHON) ## Delete everything the stack stored; asks first, Y=1 does not
	@$(PYTHON) -m stack.commands.reset

proto: setup ## Generate everything that follows from protos/
	@$(PYTHON) -m tools.generate

lint: setup ## Run every check that needs no running component; C=mypy runs one
	@$(PYTHON) -m tools.lint $(C)

hooks: ## Run the checks that take seconds before each git push (optional)
	@git config core.hooksPath .githooks

fmt: setup ## Format contracts and code
	@$(PYTHON) -m tools.fmt

new-service: setup ## Copy the smallest working shape: NAME=notes, ENTITY=note when not NAME without its s
	@$(PYTHON) -m tools.new_service $(NAME) $(ENTITY)

test: setup ## Run all tests on real servers; T=unit/todo narrows, J=2 shares the suites between two processes
	@$(PYTEST) $(if $(J),-n $(J) --dist loadscope --no-loadscope-reorder) tests/$(T)

bench: setup ## Measure against the bare ceiling and FastAPI; QUICK=1 in two minutes
	@$(PYTHON) -m bench.run

prove: setup ## Kill everything under load, then check every promise; QUICK=1, SEED=n, ONLY=reminders
	@$(PYTHON) -m prove.run

fuzz: setup ## Send what Schemathesis makes of the OpenAPI document for ten minutes; QUICK=1, SEED=n, ONLY=TaskService
	@$(PYTHON) -m prove.fuzz

dlq: $(PYTHON) ## List, show and replay dead letters: A="list"; A="--help" says more
	@$(PYTHON) -m stack.commands.dlq $(A)
