# Everything here needs only make and a Python from 3.11 to 3.13; uv is used where it is.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3 python,$(if $(shell $(p) -c 'import sys; print(*[1][: (3, 11) <= sys.version_info < (3, 14)])' 2>/dev/null),$(p))))
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST_ARGS ?=
# Processes that share the test files; each takes about 2 GB.
WORKERS ?= 2
SHARED := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# Percentage of lines and branches that the tests must reach, and the files that are run for it.
FLOOR ?= 92
COVERED ?= tests

# tensorflow-io's native library loads against TensorFlow 2.16 only, which needs Python 3.11 or 3.12.
TFIO := .venv-tfio
TFIO_READY := $(TFIO)/.ready
TFIO_PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3 python,$(if $(shell $(p) -c 'import sys; print(*[1][: (3, 11) <= sys.version_info < (3, 13)])' 2>/dev/null),$(p))))

# What `pip install .` gives: a wheel and its dependencies, no extras.
BASE := .venv-base
BASE_READY := $(BASE)/.ready

.DEFAULT_GOAL := help
.PHONY: help install demo docs coverage test test-base test-packages test-fast test-tfio lint format lock lock-tfio clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(READY)  ## Make .venv with pinned versions, and speechrnn in it

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python from 3.11 to 3.13 was found. Name one: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	@echo "Setting up $(VENV) (a few minutes the first time) ..." >&2
	@if command -v uv >/dev/null 2>&1; then \
	    uv venv --quiet --allow-existing --python "$(PYTHON)" $(VENV) && \
	    uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock && \
	    uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . ; \
	else \
	    "$(PYTHON)" -m venv $(VENV) && \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock && \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . ; \
	fi
	@touch $(READY)

demo: $(READY)  ## Train on the included corpus, transcribe, and write demo/index.html
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m pipelines.demo --out demo

test: $(READY)  ## Run the whole suite: tests, docstring examples, notebooks
	$(BIN)/python -m pytest $(SHARED) --doctest-modules --nbmake -m "not gpu and not network and not tfio" $(PYTEST_ARGS) tests speechrnn notebooks

test-fast: $(READY)  ## Run the tests without the slow ones
	$(BIN)/python -m pytest $(SHARED) $(PYTEST_ARGS) tests

$(TFIO_READY): requirements-tfio.lock
	@test -n "$(TFIO_PYTHON)" || { echo "tensorflow-io needs Python 3.11 or 3.12. Name one: make test-tfio TFIO_PYTHON=/path/to/python3.12" >&2; exit 2; }
	@echo "Setting up $(TFIO) (a few minutes the first time) ..." >&2
	@if command -v uv >/dev/null 2>&1; then \
	    uv venv --quiet --allow-existing --python "$$($(TFIO_PYTHON) -c 'import sys; print(sys.executable)')" $(TFIO) && \
	    uv pip install --quiet --python $(TFIO)/bin/python --require-hashes -r requirements-tfio.lock ; \
	else \
	    "$(TFIO_PYTHON)" -m venv $(TFIO) && \
	    $(TFIO)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-tfio.lock ; \
	fi
	@touch $(TFIO_READY)

test-tfio: $(TFIO_READY)  ## Run the tests of decoding with tensorflow-io, in an environment beside the main one
	$(TFIO)/bin/python -m pytest -m tfio $(PYTEST_ARGS) tests/test_tfio.py

$(BASE_READY): requirements-base.lock pyproject.toml $(READY)
	@echo "Setting up $(BASE) ..." >&2
	@rm -rf $(BASE) && "$(PYTHON)" -m venv $(BASE) && \
	$(BASE)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-base.lock
	@touch $(BASE_READY)

test-base: $(BASE_READY)  ## Build a wheel, install it without extras in an environment of its own, and try every verb
	rm -rf $(BASE)/wheel && $(BIN)/hatchling build --target wheel --directory $(BASE)/wheel >/dev/null
	$(BASE)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall $(BASE)/wheel/*.whl
	$(BASE)/bin/python tests/base_install.py

test-packages:  ## Build sdist and wheel, and install them with each extra in clean environments (WHOLE=1: TensorFlow's too)
	"$(PYTHON)" tests/packages.py $(if $(WHOLE),--whole)

coverage: $(READY)  ## Run the tests and print what they reach; below FLOOR percent is an error
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest $(SHARED) -m "not gpu and not network and not tfio" $(PYTEST_ARGS) $(COVERED)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --fail-under=$(FLOOR)

docs: $(READY)  ## Build the site into docs/_build/html; warnings and links that lead nowhere are errors
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs docs/_build/html

lint: $(READY)  ## Check format, lint, types and import order
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .

# Later ones of it say that they are for Python below 3.11: uv would take them all the same, and pip then refuses the lock.
lock:  ## Pin versions again (needs uv)
	echo 'backports-strenum<1.3' | uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 --extra dev --constraints - pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 --constraints requirements.lock pyproject.toml -o requirements-base.lock

lock-tfio:  ## Pin the versions of that environment again (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 requirements-tfio.in -o requirements-tfio.lock

clean:  ## Remove what make made
	rm -rf $(VENV) $(TFIO) $(BASE) demo docs/_build docs/reference/generated .pytest_cache .mypy_cache .ruff_cache .hypothesis
