# Two commands are enough: `make run` and `make test`. Both create the environment when it is not there.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

ENGINE ?= podman
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGE_ARGS = $(if $(BASE),--build-arg BASE=$(BASE)) --build-arg GIT_SHA=$(shell git rev-parse HEAD)

.PHONY: help run test lint format benchmarks image clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

run: $(READY)  ## the whole pipeline on the bundled graph `countries`, then a query through TorchServe
	@$(BIN)/mmkgc run countries

test: $(READY)  ## every test that runs on this machine; what was skipped and what would enable it stands at the end
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

lint: $(READY)  ## style, types and one-way imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## rewrite the sources in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

image:  ## the images of the pipeline's steps and of serving; ENGINE=docker, BASE=REGISTRY/python@sha256:…
	$(ENGINE) build -f infra/Containerfile --target steps $(IMAGE_ARGS) -t mmkgc:$(VERSION) .
	$(ENGINE) build -f infra/Containerfile --target serve $(IMAGE_ARGS) -t mmkgc-serve:$(VERSION) .

clean:  ## delete the environment and everything that runs made
	rm -rf $(VENV) .mmkgc

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mmkgc needs Python 3.11 or newer: make PYTHON=python3.11 …"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
