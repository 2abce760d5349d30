# Two commands are enough: `make run` and `make test`. Both create the environment when it is not there.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

ENGINE ?= podman
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# TORCH_INDEX: where pip finds PyTorch; BUILD_FLAGS: further options, such as -v /etc/pip.conf:/etc/pip.conf:ro
IMAGE_ARGS = $(BUILD_FLAGS) $(if $(TORCH_INDEX),--build-arg TORCH_INDEX=$(TORCH_INDEX)) $(if $(BASE),--build-arg BASE=$(BASE)) --build-arg GIT_SHA=$(shell git rev-parse HEAD)

.PHONY: help run test check lint format coverage compiled docs sbom benchmarks image test-outages test-containers clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

run: $(READY)  ## the whole pipeline on the bundled graph `countries`, then a query through TorchServe
	@$(BIN)/mmkgc run countries
	@printf '\nmmkgc is installed in %s; to call it from this terminal:\n\n  source %s/bin/activate\n\n' $(VENV) $(VENV)

test: $(READY)  ## every test that runs on this machine; what was skipped and what would enable it stands at the end
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder $(PYTEST)

check: lint  ## lint, types and the fast tests of the libraries: before every commit
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile -q -m 'not slow and not service' $(FAST)

FAST := tests/test_docs.py tests/components/dataset tests/components/runtime tests/components/kge/evaluation tests/pipeline/api \
        $(patsubst %,tests/components/kge/test_%.py,bundle graph interactions known losses) \
        $(patsubst %,tests/pipeline/test_%.py,composition config renamed) tests/serving/engine

lint: $(READY)  ## style, types and one-way imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## rewrite the sources in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: PYTEST = --cov --cov-report=term:skip-covered --cov-report=html:build/coverage
coverage: test  ## every test, and which lines they reach: a table, and pages in build/coverage

compiled: $(READY)  ## the committed pipelines and the API's description again, after a change of the DAG, a recipe or the protocol
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh pipeline/recipes/compiled/compile.sh
	@$(BIN)/python -m mmkgc.serving.api.gateway.openapi

docs: $(READY)  ## the documentation site in build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# A venv of its own: the tool brings rfc3987-syntax, whose grammar every process that imports kfp or ray would parse.
sbom: $(READY)  ## which packages are installed, and their licences: build/sbom.cdx.json, build/licences.md
	$(PYTHON) -m venv build/sbom
	build/sbom/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt cyclonedx-bom
	build/sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file build/sbom.cdx.json $(BIN)/python
	$(BIN)/pip-licenses --python $(BIN)/python --format=markdown --with-urls --output-file build/licences.md

benchmarks: $(READY)  ## the tables of docs/benchmarks.md that need no data of others: ranking, training, strategies (an hour; leave the machine alone)
	$(BIN)/python -m tests.benchmarks.ranking 3
	$(BIN)/python -m tests.benchmarks.training 3
	$(BIN)/python -m tests.benchmarks.strategies 40

image:  ## the images of the pipeline's steps, of serving and of MLflow; ENGINE=docker, BASE=REGISTRY/python@sha256:…
	$(ENGINE) build -f infra/Containerfile --target steps $(IMAGE_ARGS) -t mmkgc:$(VERSION) .
	$(ENGINE) build -f infra/Containerfile --target serve $(IMAGE_ARGS) -t mmkgc-serve:$(VERSION) .
	$(ENGINE) build -f infra/Containerfile --target mlflow $(IMAGE_ARGS) -t mmkgc-mlflow:$(VERSION) .

test-outages: $(READY)  ## a run on a cluster's services, each of which is away for a minute (`make test` has seconds)
	CI=true OUTAGE_SECONDS=60 $(BIN)/pytest -v -n0 tests/services/test_production.py -k 'away or outage'

test-containers: $(READY)  ## the images under a cluster's rules, after `make image`; BUNDLE=FOLDER of a model that a run has made
	CI=true ENGINE=$(ENGINE) VERSION=$(VERSION) $(BIN)/pytest -v -n0 tests/infra/containers.py

clean:  ## delete the environment and everything that runs and builds made
	rm -rf $(VENV) .mmkgc build

# compat: the folder on Python's path. By the default, `import mmkgc` beside a clone of this name takes the clone's folder.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mmkgc needs Python 3.11 or newer: make PYTHON=python3.11 …"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --config-settings editable_mode=compat -e '.[dev]'
	@touch $@
