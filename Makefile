# Everything a contributor or CI runs. All of it lives in .venv, which `make clean` removes.

PYTHON ?= python3
# One more than CI has cores: deployments on the emulator wait for a third of the time.
WORKERS ?= 3

# uv trusts only its own certificates unless told; behind a company's TLS proxy it needs the system's.
export UV_SYSTEM_CERTS := 1
export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1

BIN := .venv/bin
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check lint aws bench simulate mutations soak pictures format lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/.run ## Start Remit on http://127.0.0.1:8000 (PORT=9000 for another port)
	@$(BIN)/remit up

test: lint .venv/.emulator .venv/.scan ## Run every check and every test that CI runs
	@$(BIN)/pytest -n $(WORKERS) --dist loadgroup

check: lint ## Run the fast part: format, lint, types, import rules, unit tests
	@$(BIN)/pytest -q -n 2 tests/unit tests/tidy

aws: .venv/.aws .venv/.scan ## Install what `remit infra`, `emulate` and `deploy` need

bench: .venv/.bench ## Run the benchmarks: one JSON line per figure (QUICK=1 to see that they run)
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

simulate: .venv/.dev ## Run the simulated world over many seeds (SEEDS=1000, OPERATIONS=100000, STORE=postgres)
	@$(BIN)/python -m tests.simulation $(if $(SEEDS),--seeds $(SEEDS)) $(if $(OPERATIONS),--operations $(OPERATIONS)) $(if $(STORE),--store $(STORE))

mutations: .venv/.dev ## Plant faults in the protocol and see each noticed by the simulated world
	@$(BIN)/python -m tests.simulation.mutate

soak: .venv/.dev .venv/.emulator ## Take ten thousand queued payments while workers die, on the emulator
	@SOAK_PAYMENTS=10000 $(BIN)/pytest -v tests/emulated/fargate_aurora/test_load.py

pictures: .venv/.dev ## Draw the pictures in docs/images again, from the programs
	@$(BIN)/python -m tests.infra.pictures

format: .venv/.dev ## Format the code and apply the safe fixes
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format --quiet

lint: .venv/.dev
	@echo 'Checking format, lint, types, import rules and insecure calls'
	@$(BIN)/ruff format --check --quiet --diff
	@$(BIN)/ruff check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/bandit --quiet --recursive --configfile pyproject.toml src
	@$(BIN)/zizmor --offline --quiet --persona=pedantic .github

lock: .venv/.uv ## Write requirements/*.lock from pyproject.toml (UPGRADE=1 for the newest versions)
	@$(COMPILE) --group bootstrap -o requirements/uv.lock
	@$(COMPILE) pyproject.toml --extra local --group build -o requirements/run.lock
	@$(COMPILE) pyproject.toml --extra local --extra aws --extra container --extra emulate --extra lambda --extra cdk --extra pulumi --extra pictures --group dev -c requirements/run.lock -o requirements/dev.lock
	@$(COMPILE) pyproject.toml --extra local --extra aws --extra container --extra emulate --extra cdk --extra pulumi --extra pictures --group build -c requirements/dev.lock -o requirements/aws.lock
	@$(COMPILE) --no-deps --group docs -o requirements/docs.lock
	@$(COMPILE) --group function -c requirements/run.lock -o requirements/function.lock
	@$(COMPILE) pyproject.toml --extra aws --extra container -c requirements/dev.lock -o requirements/image.lock
	@$(COMPILE) --group emulator -o requirements/emulator.lock
	@$(COMPILE) --group scan -o requirements/scan.lock
	@$(COMPILE) pyproject.toml --extra local --extra aws --extra cdk --group bench -c requirements/dev.lock -o requirements/bench.lock

clean: ## Remove what was installed, built and cached; your data in .remit stays
	@rm -rf .venv dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# One environment, grown in steps; each stamp is as new as the lock it was made from.

define python_is_ready
import sys
if sys.version_info < (3, 11):
    sys.exit("Remit needs Python 3.11 or newer; this is %d.%d. Name one: make PYTHON=python3.13" % sys.version_info[:2])
try:
    import ensurepip, venv
except ImportError:
    sys.exit("Remit needs Python's venv module. On Debian or Ubuntu: apt install python3-venv")
endef
export python_is_ready

.venv/.uv: requirements/uv.lock
	@command -v $(PYTHON) >/dev/null || { echo 'Remit needs Python 3.11 or newer; $(PYTHON) is not on PATH'; exit 1; }
	@$(PYTHON) -c "$$python_is_ready"
	@echo 'Making .venv'
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install -qq --require-hashes -r requirements/uv.lock
	@touch $@

.venv/.run: .venv/.uv requirements/run.lock requirements/docs.lock pyproject.toml
	@echo 'Installing what the service needs'
	@$(INSTALL) --no-build --require-hashes -r requirements/run.lock
	@$(INSTALL) --no-build --no-deps --require-hashes -r requirements/docs.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: .venv/.run requirements/dev.lock
	@echo 'Installing what the checks and tests need'
	@$(INSTALL) --no-build --require-hashes -r requirements/dev.lock
	@touch $@

# Two environments of their own within it: what is in them pins what the rest needs newer.

.venv/.emulator: .venv/.dev requirements/emulator.lock
	@echo 'Installing the emulator of AWS'
	@$(BIN)/remit emulate --install
	@touch $@

.venv/.scan: .venv/.uv requirements/scan.lock
	@echo 'Installing the scanners'
	@$(BIN)/uv venv --quiet --clear .venv/scan
	@$(BIN)/uv pip install --quiet --python .venv/scan/bin/python --require-hashes -r requirements/scan.lock
	@touch $@

.venv/.aws: .venv/.run requirements/aws.lock
	@echo 'Installing the tools for AWS'
	@$(INSTALL) --no-build --require-hashes -r requirements/aws.lock
	@touch $@

.venv/.bench: .venv/.run requirements/bench.lock
	@echo 'Installing what the benchmarks need'
	@$(INSTALL) --require-hashes --build-constraints requirements/bench.lock -r requirements/bench.lock
	@touch $@
