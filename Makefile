# make demo   set up, and see the main job done: trained, killed, resumed, sampled
# make test   set up, and run the tests
PYTHON ?= python3
VENV   ?= .venv
RUN     = $(VENV)/bin/python

.PHONY: demo test test-servers lint format bench bench-store simulate clean help

help:
	@echo "make demo          a smoke run: submitted, killed, resumed, finished, sampled (CPU, minutes)"
	@echo "make test          the tests that CI runs, with lint and types before them"
	@echo "make test-servers  the tests that need an S3 server which enforces policies (root, apt)"
	@echo "make lint          ruff and mypy"
	@echo "make bench         step times beside the plain trainer's, into bench/results/"
	@echo "make bench-store   checkpoints: the loop's stall, and uploads beside boto3's own"
	@echo "make simulate      200,000 schedules of the commit protocol under faults"

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else \
	    'Mimir needs Python 3.11 to 3.13, and $(PYTHON) is ' + sys.version.split()[0] + ': make PYTHON=python3.12 …')"
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,ssh,dev]'
	touch $@

demo: $(VENV)/installed
	$(RUN) scripts/demo.py

test: lint
	$(RUN) -m pytest

lint: $(VENV)/installed
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(VENV)/installed
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

# Ceph's S3 server, which enforces policies; fetched with apt, needs root.
test-servers: $(VENV)/installed
	PYTHON=$(RUN) tests/servers/run.sh

bench: $(VENV)/installed
	$(RUN) -m bench.steps

bench-store: $(VENV)/installed
	$(RUN) -m bench.store

simulate: $(VENV)/installed
	$(RUN) -m tests.runs.simulate --schedules 200000 --jobs 2

clean:
	rm -rf $(VENV) demo build *.egg-info
