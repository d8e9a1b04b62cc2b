# `make run` serves the built-in models; `make test` runs every check that this machine can run.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# PyPI's PyTorch for Linux has CUDA. TORCH_INDEX is the address of PyTorch's own index for CPUs, or for another CUDA.
TORCH_INDEX ?=
PIP = $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
PHOTOS ?= ../shared/data/starter-photos
RUNS ?= runs
EXTRAS = worker,heic,jwt,redis,grpc
BUILD_TOOLS = cyclonedx-bom hatchling
# For every platform, but another build of torch for x86-64 alone. TORCH_VARIANT names it where pip finds it without an index.
TORCH_VARIANT ?= $(or $(lastword $(subst /, ,$(TORCH_INDEX))),$(if $(TORCH_INDEX),$(error TORCH_INDEX=$(TORCH_INDEX) names no build)))
LOCK = $(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 --constraint constraints.txt \
	--index-strategy unsafe-best-match --no-annotate --no-header --upgrade
TEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not stress and not cluster" --durations=25 --durations-min=8
PARALLEL = --numprocesses=3 --dist=loadfile --no-loadscope-reorder
UNIT_TESTS = $(TEST) --ignore=tests/e2e $(PARALLEL)
E2E_TESTS = $(TEST) tests/e2e $(PARALLEL)
AGAIN = --last-failed --last-failed-no-failures=none
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test coverage lint check format stress bench-gpu starter-models image-check verify-cluster observability-demo problems settings objectives dashboards dist sbom lock plan site clean

# Container images often set it. Each of the hundreds of processes of the tests would compile the sources again.
unexport PYTHONDONTWRITEBYTECODE

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/worker.stamp ## serve the built-in models on http://127.0.0.1:8000 (ARGS="--port 9000")
	@exec $(BIN)/resnest-service run $(ARGS)

test: lint ## format, lint, types, unit tests, end-to-end tests against a real TorchServe
	@# One OpenMP thread: torch's threads would compete with TorchServe and the gateway for two cores. The tests of a file
	@# share fixtures, so they stay in one process, and so do files that share a service. Three processes keep two cores
	@# busy for more than nine tenths of the time, and four take as long. By default, xdist begins with the files of most
	@# tests, and ends with one process in a long test and two without any.
ifeq ($(ARGS),)
	@# What fails beside other work runs once more alone, because a shared machine stalls for seconds. Two failures count.
	$(UNIT_TESTS) || $(TEST) $(AGAIN) --ignore=tests/e2e
	$(E2E_TESTS) || $(TEST) $(AGAIN) tests/e2e
else
	$(TEST) $(ARGS)
endif

coverage: $(VENV)/test.stamp ## the same tests with branch coverage, at least 95 % (takes half as long again)
	$(UNIT_TESTS) --cov --cov-report= --cov-fail-under=0
	$(TEST) --cov --cov-append --cov-report=term:skip-covered tests/e2e

lint: $(VENV)/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

check: lint ## check format, lint and strict types
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

image-check: $(VENV)/test.stamp ## build both images and send one image through them (root, buildah, podman)
	.ci/image-check.sh

verify-cluster: $(VENV)/test.stamp ## scale, roll out and drain the manifests on a real control plane (Debian; 14 min, at first 15 more)
	.ci/deploy-tools.sh
	.ci/control-plane.sh
	@rm -f build/cluster/scaling.json
	$(BIN)/python -m pytest -m cluster tests/cluster $(ARGS)
	@test ! -e build/cluster/scaling.json || $(BIN)/python -m tests.cluster.scaling_figures build/cluster/scaling.json

observability-demo: $(VENV)/worker.stamp ## break a real service, and show which alerts fire, are sent and resolve (10 min)
	@$(BIN)/python -m deploy.demo $(ARGS)

problems: $(VENV)/worker.stamp ## regenerate docs/problems.md from service/errors/
	@$(BIN)/python -c 'from service.gateway.routes.problem_pages import manual; print(manual(), end="")' > docs/problems.md

settings: $(VENV)/worker.stamp ## regenerate docs/settings.md from service/config/settings.py
	@$(BIN)/python -m service settings --markdown > docs/settings.md

objectives: $(VENV)/worker.stamp ## regenerate the rules of deploy/prometheus/objectives.toml, and the operator's
	@$(BIN)/python -m deploy.prometheus.objectives > deploy/prometheus/rules/objectives.yml
	@$(BIN)/python -m deploy.prometheus.operator_rules > deploy/kubernetes/components/prometheus-operator/rules.yaml

dashboards: $(VENV)/test.stamp ## regenerate Grafana's dashboards (RUNBOOKS=URL of your docs/operations/alerts.md)
	@$(BIN)/python -m deploy.grafana.boards

dist: $(VENV)/release.stamp ## build the wheels and source archives of service, starter models and client into dist/
	rm -rf dist
	for each in . model_store clients/python; do $(BIN)/python -m build --no-isolation --outdir dist $$each || exit; done
	cp constraints.txt dist

sbom: dist ## list what an installation contains: CycloneDX document, licences, known vulnerabilities (needs the network)
	rm -rf build/installed
	$(PYTHON) -m venv build/installed
	$(BIN)/python -m pip --disable-pip-version-check --python build/installed/bin/python install --quiet \
		--constraint constraints.txt dist/resnest_starter_models-*.whl "$$(ls dist/resnest_service-*.whl)[$(EXTRAS)]"
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file dist/sbom.cdx.json build/installed/bin/python
	{ cat deploy/licences.md; $(BIN)/pip-licenses --python build/installed/bin/python --format markdown --no-version \
		--ignore-packages pip setuptools resnest-service resnest-starter-models; } > docs/licences.md
	$(BIN)/python -m pip --python build/installed/bin/python list --format freeze \
		--exclude resnest-service --exclude resnest-starter-models | sed 's/+.*//' > build/installed.txt
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement build/installed.txt

plan: $(VENV)/worker.stamp ## compute the tables and plots of docs/operations/planning.md
	@$(BIN)/python -m deploy.planning $(ARGS)

lock: $(VENV)/release.stamp ## write the hashes of what the images install (TORCH_INDEX=<index>/cpu for the build for CPUs)
	echo '$(BUILD_TOOLS)' | tr ' ' '\n' | $(LOCK) --universal - --output-file deploy/locks/build.txt
	$(LOCK) --universal pyproject.toml --extra jwt,otel,redis --output-file deploy/locks/gateway.txt
	$(LOCK) $(if $(TORCH_VARIANT),--python-platform x86_64-manylinux_2_28,--universal) pyproject.toml --extra otel,worker \
		$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) $(if $(TORCH_VARIANT),$(addprefix --find-links ,$(PIP_FIND_LINKS))) \
		--output-file deploy/locks/worker$(addprefix -,$(TORCH_VARIANT)).txt

site: $(VENV)/release.stamp ## render the documents into build/site (index.html)
	$(BIN)/python -m deploy.site.pages build/pages
	$(BIN)/zensical build --clean --strict --config-file build/zensical.toml

clean: ## remove the environment and generated files
	rm -rf $(VENV) model_store/archives .pytest_cache .mypy_cache .ruff_cache .coverage build dist *.egg-info

$(VENV)/worker.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; run make PYTHON=/path/to/python3")'
	@echo "Setting up $(VENV): downloads about $(if $(TORCH_INDEX),0.4 GB,0.4 GB with PyTorch for CPUs and 3 GB with CUDA), in some minutes"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --editable '.[worker,heic]'
	@touch $@

# Without dependencies: their metadata requires torchvision, which would install another torch. The tests need neither.
$(VENV)/release.stamp: $(VENV)/worker.stamp
	@echo "Adding the release tools to $(VENV)"
	@$(PIP) --editable '.[worker,heic,release]'
	@touch $@

$(VENV)/test.stamp: $(VENV)/release.stamp
	@echo "Adding the test tools to $(VENV)"
	@$(PIP) --editable '.[worker,heic,release,test]'
	@$(PIP) --no-deps resnest timm
	@touch $@
