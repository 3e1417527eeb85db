# Every target sets up what it needs in .venv; done once, a setup is skipped.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMPS := .venv/.stamps
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: plan test lint format golden budgets trace docs clean

plan: $(STAMPS)/core  ## plan the packaged GPT-3 scenario
	$(BIN)/costsim plan scenarios/gpt3.yaml

test: $(STAMPS)/test  ## run the tests
	$(BIN)/python -m pytest -n 2

lint: $(STAMPS)/lint  ## check style, format, types and import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(STAMPS)/lint  ## put the code into its format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

golden: $(STAMPS)/test  ## accept what is printed now as tests/golden
	$(BIN)/python -m pytest --update-golden

trace: $(STAMPS)/trace  ## compare readers with the installed transformers, type by type (minutes)
	$(BIN)/python benchmarks/semantic_trace.py

budgets: $(STAMPS)/test  ## plan the published runs anew and write docs/budgets.md
	$(BIN)/python -m pytest --update-golden tests/planning/test_published_budgets.py

docs: $(STAMPS)/docs  ## write the reference, and build the site into build/site
	$(BIN)/python .ci/reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

clean:  ## remove what make made
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist

$(STAMPS):
	$(PYTHON) -m venv .venv
	mkdir -p $@

$(STAMPS)/core: pyproject.toml | $(STAMPS)
	$(PIP) --editable .
	touch $@

$(STAMPS)/test: pyproject.toml | $(STAMPS)
	@echo "installing the extra [test] into .venv: PyTorch is most of the download, all else is small" >&2
	$(PIP) --editable '.[test]'
	touch $@ $(STAMPS)/core

$(STAMPS)/docs: pyproject.toml | $(STAMPS)
	$(PIP) --editable '.[docs]'
	touch $@ $(STAMPS)/core

$(STAMPS)/trace: pyproject.toml | $(STAMPS)
	$(PIP) --editable '.[transformers]'
	touch $@ $(STAMPS)/core

# The types of torch and pandas are part of what pyright checks, so lint needs the test extra.
$(STAMPS)/lint: pyproject.toml | $(STAMPS)
	$(PIP) --editable '.[test,lint]'
	touch $@ $(STAMPS)/core $(STAMPS)/test
