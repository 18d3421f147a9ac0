# Everything sets itself up from nothing into .venv (Python 3.11 or 3.12, package registries only).
#   make demo    the whole flow on drawn scenes, no download of data: runs/demo/report.html
#   make test    the tests; VCM_SHARED names the data folder (default ../shared), ARGS goes to pytest
#   make lint    ruff and mypy
#   make fuzz    damaged inputs with new seeds, ARGS="--minutes 60"; what fails is kept in runs/fuzz
#   make coverage  lines of parser and coder that their tests reach, file by file; 95 % at least
#   make bench   speed and memory against peers, side by side, in 15 minutes: runs/bench (not part of the tests)
#   make audit   known weaknesses of what is installed, from the database of advisories (needs the network)
#   make lock    requirements.lock anew, after a change of constraints.txt or pyproject.toml (needs the network)
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
RUN := $(VENV)/bin/python
COVERED := tests/icm/bitstream tests/icm/groups tests/nerv tests/fuzz
PIP := $(RUN) -m pip --disable-pip-version-check --quiet
# in an environment of their own: what looks after the lock is no part of what it locks
TOOLS := build/tools
UV := uv==0.13.9
AUDIT := pip-audit==2.10.1
COMPILE := $(TOOLS)/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --constraint constraints.txt
# the stamp's name carries what was asked for, so that set-up happens once for each state of the three files
STAMP := $(VENV)/.ready-$(shell cat pyproject.toml requirements.lock Makefile | cksum | tr ' ' -)

.PHONY: demo test lint fuzz coverage bench setup audit lock clean
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)) and "vcm: requirements.lock is for Python 3.11 and 3.12; name one: make PYTHON=python3.11")'
	@echo "setting up $(VENV) (a few minutes, once)" >&2
	@$(PYTHON) -m venv $(VENV) || { echo "vcm: no venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
# only files whose hash is in the lock, and none of them built here: what is installed is what was tested
	@$(PIP) install --require-hashes --no-deps --only-binary :all: --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --no-index --editable .
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
	$(RUN) -W ignore -m benchmarks.suite -o runs/bench $(ARGS)

audit:
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check $(AUDIT)
	@$(TOOLS)/bin/pip-audit --strict --require-hashes --disable-pip --progress-spinner off --requirement requirements.lock \
		|| { echo "vcm: the audit found something, or could not be made (read above)" >&2; exit 1; }

# trackeval (scores of tracks) asks for numpy >= 2.3, which CompressAI does not allow, and for an OpenCV with windows; it
# runs without: so it stands in the lock without its dependencies. numpy is overridden for Pythons newer than CompressAI.
lock:
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check $(UV)
	@{ echo '# Made by `make lock` from pyproject.toml and constraints.txt: every file that PyPI has of these versions.' \
		&& $(COMPILE) --override <(grep ^numpy= constraints.txt) --no-emit-package colorama \
			--extra dev pyproject.toml \
		&& echo trackeval | $(COMPILE) --no-deps -; } > requirements.lock.tmp
	@mv requirements.lock.tmp requirements.lock

clean:
	rm -rf $(VENV) runs build *.egg-info
