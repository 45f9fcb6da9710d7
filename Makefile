# A fresh checkout needs Python 3.11, make and the package index; everything happens in .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
WORKERS ?= 2
ROOMS := corpora models filters train evals pipelines jobs
BIN := .venv/bin
TYPES := build/types
SOURCES := api $(ROOMS) tests $(wildcard benchmarks)

# A peer has a venv of its own: their dependencies disagree with ours and with each other's.
PEERS := img2dataset webdataset clip-retrieval
img2dataset := img2dataset==1.47.0
webdataset := webdataset==1.0.2
clip-retrieval := clip-retrieval==2.45.0 torch==2.12.1 torchvision==0.27.1

export PIP_DISABLE_PIP_VERSION_CHECK := 1
.DEFAULT_GOAL := help
.PHONY: help install demo test check lint types format peers $(PEERS:%=peer-%) clean

help: ## show this list
	@sed -n 's/^\([a-z]*-*%*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 12

install: .venv/.installed-dev ## create .venv with everything that demo, test and check need

demo: .venv/.installed-demo ## run the whole loop on the embedded corpus; ends with a report page
	$(BIN)/tamis demo $(ARGS)

test: install ## run every test (ARGS="-k name" picks some, WORKERS=0 runs them in one process)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

check: lint types ## check format, lint and types: what a change must pass besides the tests

lint: install
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)

# Type checkers cannot see through setuptools' editable import hook; links that spell the package out they can.
types: install ## check the types alone
	@rm -rf $(TYPES) && mkdir -p $(TYPES)/tamis
	@ln -s $(addprefix $(CURDIR)/,$(ROOMS) $(wildcard api/*.py) api/py.typed) $(TYPES)/tamis
	MYPYPATH=$(TYPES):benchmarks $(BIN)/mypy $(TYPES)/tamis tests $(wildcard benchmarks/*.py)

results-%: install ## measure what benchmarks/RESULTS.md tells (results-decide, results-kills, ...); ARGS="--quick" for a short form
	$(BIN)/python benchmarks/$*.py $(ARGS)

format: install ## rewrite the sources as `make check` wants them
	$(BIN)/ruff check --fix-only $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

peers: $(PEERS:%=peer-%) ## install what the benchmarks compare with, each in .peers/NAME

# A peer that no longer installs must not keep the others from being measured.
$(PEERS:%=peer-%): peer-%:
	@$(MAKE) --no-print-directory .peers/$*/.installed || echo "peer $*: not installed; benchmarks against it cannot run"

clean: ## remove what was built and cached; keeps .venv and .peers
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(SOURCES) -name __pycache__ -prune -exec rm -rf {} +

# [dev] contains [demo], so the demo's stamp is set by both.
.venv/.installed-%: setup.cfg pyproject.toml constraints.txt | .venv/bin/pip
	$(BIN)/pip install -q -c constraints.txt -e '.[$*]'
	@touch $@ .venv/.installed-demo

.peers/%/.installed: Makefile | .peers/%/bin/pip
	.peers/$*/bin/pip install -q $($*)
	@touch $@

.PRECIOUS: %/bin/pip
%/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "tamis needs Python 3.11 or newer: make install PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $*
