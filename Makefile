# `make run` serves the built-in models; `make test` runs every check that this machine can run.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PHOTOS ?= ../shared/data/starter-photos
RUNS ?= runs
TEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not stress" --durations=25 --durations-min=8
UNIT_TESTS = $(TEST) --ignore=tests/e2e --numprocesses=2 --dist=loadfile
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test coverage check format stress bench-gpu starter-models image-check problems settings objectives clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/worker.stamp ## serve the built-in models on http://127.0.0.1:8000 (ARGS="--port 9000")
	@exec $(BIN)/resnest-service run $(ARGS)

test: check ## format, lint, types, unit tests, end-to-end tests against a real TorchServe
	@# One OpenMP thread: torch's threads would compete with TorchServe and the gateway for two cores. Two processes halve
	@# the time of the tests without a service; the tests of a file share fixtures, so a file stays in one process.
ifeq ($(ARGS),)
	$(UNIT_TESTS)
	$(TEST) tests/e2e
else
	$(TEST) $(ARGS)
endif

coverage: $(VENV)/test.stamp ## the same tests with branch coverage, at least 95 % (takes half as long again)
	$(UNIT_TESTS) --cov --cov-report= --cov-fail-under=0
	$(TEST) --cov --cov-append --cov-report=term:skip-covered tests/e2e

check: $(VENV)/test.stamp ## check format, lint and strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/test.stamp ## format the code and fix lint errors
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

stress: $(VENV)/test.stamp ## the long tests
	$(BIN)/python -m pytest -m stress $(ARGS)

bench-gpu: $(VENV)/worker.stamp ## measure the engine and the service on this machine's GPU (ARGS="--batch-size 32")
	@$(BIN)/python -m benchmarks.gpu $(ARGS)

starter-models: $(VENV)/worker.stamp ## retrain the built-in models (PHOTOS=, RUNS=; hours on a CPU)
	model_store/recipes/train-all $(BIN)/python $(PHOTOS) $(RUNS)

image-check: ## build both images and send one image through them (root, buildah, podman)
	.ci/image-check.sh

problems: $(VENV)/worker.stamp ## regenerate docs/problems.md from service/errors/
	@$(BIN)/python -c 'from service.gateway.routes.problem_pages import manual; print(manual(), end="")' > docs/problems.md

settings: $(VENV)/worker.stamp ## regenerate docs/settings.md from service/config/settings.py
	@$(BIN)/python -m service settings --markdown > docs/settings.md

objectives: $(VENV)/worker.stamp ## regenerate the rules of deploy/prometheus/objectives.toml
	@$(BIN)/python -m deploy.prometheus.objectives > deploy/prometheus/rules/objectives.yml

clean: ## remove the environment and generated files
	rm -rf $(VENV) model_store/archives .pytest_cache .mypy_cache .ruff_cache .coverage build *.egg-info

$(VENV)/worker.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; run make PYTHON=/path/to/python3")'
	@echo "Setting up $(VENV) (the first time takes a few minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --editable '.[worker,heic]'
	@touch $@

# Without dependencies: their metadata requires torchvision, which would install another torch. The tests need neither.
$(VENV)/test.stamp: $(VENV)/worker.stamp
	@echo "Adding the test tools to $(VENV)"
	@$(PIP) --editable '.[worker,heic,test]'
	@$(PIP) --no-deps resnest timm
	@touch $@
