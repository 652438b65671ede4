# Needs git, make, and python3 >= 3.11 with pip. Everything else lands in .tools and .venv.

PYTHON ?= python3
ARGS ?=

BIN := .venv/bin
SOURCES := shared langchain_kimi_vertex llama_index_kimi_vertex tests examples benchmarks .ci
ENVIRONMENT := $(PYTHON) .ci/environment.py
UV := UV_NO_CONFIG=1 UV_DEFAULT_INDEX=https://pypi.org/simple .tools/bin/uv

# Machines that set this, as containers do, would compile every module in each of the suite's child processes.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo live pictures test test-lowest docs docs-serve docs-output check format bench bench-full recipes build lock clean \
        oracles env-uv env-demo env-test env-dev env-bench env-recipes env-recipes-beam env-lowest

help: ## list the targets
	@echo "Usage: make TARGET [ARGS='...'] [PYTHON=python3.12]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: env-demo ## see Kimi think and answer in a chain, an agent and a query engine
	@$(BIN)/python examples/demo.py $(ARGS)

pictures: env-dev ## play the demo in a terminal and open the web page in Chromium: docs/demo.svg, docs/web.png; draw docs/pace.svg
	@$(BIN)/python .ci/demo_picture.py
	@$(BIN)/python .ci/pace_picture.py
	@$(BIN)/python -m tests.project.test_web

test: env-test ## run the tests; no Google account, no network beyond the package registry
	@$(BIN)/python -m pytest $(ARGS)

test-lowest: env-lowest ## run the tests against the lowest versions that pyproject.toml allows
	@.venv-lowest/bin/python -m pytest $(ARGS)

oracles: env-test ## compare with the parsers of vLLM and SGLang: ARGS="--engines FOLDER"
	@$(BIN)/python -m tests.oracles $(ARGS)

docs: env-dev ## build the site into site/, warnings as errors
	@$(BIN)/python .ci/site.py

docs-serve: env-dev ## show the site at http://localhost:8000 and build it again at each change
	@$(BIN)/zensical serve

docs-output: env-test ## run the snippets of pages and write what they print below them: ARGS=docs/langchain.md
	@$(BIN)/python -m tests.project.support_pages $(ARGS)
	@$(BIN)/python -m tests.errors.support_page
	@$(BIN)/python -m tests.project.support_live

check: env-dev ## lint, formatting and types: ruff, mypy --strict, pyright
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

format: env-dev ## format the code and apply ruff's safe fixes
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: env-test ## measure the core and both adapters on this machine, in two minutes
	@$(BIN)/python -m benchmarks $(ARGS)

bench-full: env-bench ## measure everything, beside the peers, and write it into docs/ (an hour)
	@.venv-bench/bin/python -m benchmarks --full --write $(ARGS)

recipes: env-recipes env-recipes-beam ## run the recipes of docs/bulk.md on Ray, Spark, Beam and the frameworks, a worker killed
	@.venv-recipes/bin/python -m pytest examples/bulk $(ARGS)
	@.venv-beam/bin/python -m pytest examples/bulk -k Beam $(ARGS)

build: env-demo ## build wheels and sdists into dist/: the library, and the two distributions that only depend on it
	@rm -rf dist
	@$(BIN)/python -m hatchling build
	@for folder in .ci/distributions/*/; do (cd "$$folder" && $(CURDIR)/$(BIN)/python -m hatchling build -d $(CURDIR)/dist) || exit 1; done

live: env-dev ## the tests of the real service, which cost money: KIMI_VERTEX_ENDPOINT and a login name it
	-KIMI_VERTEX_LIVE=1 $(BIN)/python -m pytest -m live tests/live $(ARGS)
	$(BIN)/python -m kimi_vertex doctor

lock: env-uv ## update uv.lock from PyPI, whatever registry this machine is set to
	$(UV) lock --python $(PYTHON) $(ARGS)

clean: ## remove the environment, the tools, builds and caches
	rm -rf .venv .venv-bench .venv-lowest .venv-recipes .venv-beam .tools dist site .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis

env-uv:
	@$(ENVIRONMENT) uv

env-demo:
	@$(ENVIRONMENT) demo

env-test:
	@$(ENVIRONMENT) test

env-dev:
	@$(ENVIRONMENT) dev

env-bench:
	@$(ENVIRONMENT) bench

env-recipes:
	@$(ENVIRONMENT) recipes

env-recipes-beam:
	@$(ENVIRONMENT) recipes-beam

env-lowest:
	@$(ENVIRONMENT) lowest
