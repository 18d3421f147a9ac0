# Everything sets itself up from nothing into .venv (Python 3.11 or later, package registries only).
#   make demo    the whole flow on drawn scenes, no download of data: runs/demo/report.html
#   make test    the tests; VCM_SHARED names the data folder (default ../shared), ARGS goes to pytest
#   make lint    ruff and mypy
#   make fuzz    damaged inputs with new seeds, ARGS="--minutes 60"; what fails is kept in runs/fuzz
#   make coverage  lines of parser and coder that their tests reach, file by file; 95 % at least
#   make bench   speed and rate against peers, side by side (not part of the tests)
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
RUN := $(VENV)/bin/python
COVERED := tests/icm/bitstream tests/icm/groups tests/nerv tests/fuzz
# scores of tracks; it asks for numpy >= 2.3, which CompressAI does not allow, and runs on 1.26 all the same
TRACKEVAL := trackeval==1.3.0
# the stamp's name carries what was asked for, so that set-up happens once for each state of the three files
STAMP := $(VENV)/.ready-$(shell cat pyproject.toml constraints.txt Makefile | cksum | tr ' ' -)

.PHONY: demo test lint fuzz coverage bench setup clean
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vcm: needs Python 3.11 or later; name one: make PYTHON=python3.11")'
	@echo "setting up $(VENV) (a few minutes, once)" >&2
	@$(PYTHON) -m venv $(VENV) || { echo "vcm: no venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps $(TRACKEVAL)
	@rm -f $(VENV)/.ready-*
	@touch $@

demo: $(STAMP)
	$(RUN) -m pipelines demo -o runs/demo $(ARGS)

# two processes with one thread each: as many as the machine that this is made for has cores
test: $(STAMP)
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist worksteal $(ARGS)

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m mypy

fuzz: $(STAMP)
	OMP_NUM_THREADS=1 $(RUN) -m tests.fuzz.run $(ARGS)

# which files count stands in pyproject.toml
coverage: $(STAMP)
	OMP_NUM_THREADS=1 VCM_FUZZ_ROUNDS=2000 $(RUN) -m coverage run -m pytest -q $(COVERED) $(ARGS)
	$(RUN) -m coverage report

bench: $(STAMP)
	$(RUN) -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) runs build *.egg-info
