# make demo   set up, and see the main job done: trained, killed, resumed, sampled
# make test   set up, and run the tests; make test T=tests/runs runs a part
PYTHON ?= python3
VENV   ?= .venv
RUN     = $(VENV)/bin/python

.PHONY: demo test test-loaded test-delayed test-long test-gpu gpu-proofs test-servers colab-test live lint format bench
.PHONY: ledger ledger-check bench-store bench-runs bench-start simulate compare clients-test
.PHONY: test-most test-policies clean help

help:
	@echo "make demo          a smoke run: submitted, killed, resumed, finished, sampled (CPU, minutes)"
	@echo "make test          lint, types, and the tests that need neither a server nor an engine"
	@echo "make test T=PATH   lint, types, and a part of the tests, such as tests/runs or one file"
	@echo "make test-loaded   the tests of \`make test\` beside eight busy processes (BUSY=8)"
	@echo "make test-delayed  the same with random waits where the order of threads and processes is decided"
	@echo "make test-long     the tests that take minutes each, and are not in \`make test\`"
	@echo "make test-gpu      the tests that need an NVIDIA GPU"
	@echo "make gpu-proofs    these, step times, profiles and preflight there, in under ten minutes"
	@echo "make test-servers  the tests that need an S3 server which enforces policies (root, apt)"
	@echo "make colab-test    Google's own CLI against fakes of Colab's servers (Python 3.12)"
	@echo "make clients-test  clients of Vast.ai, RunPod, Lambda, Google against our fakes (pip and npm)"
	@echo "make live          a first run on a real service, at most \$$0.50: PROVIDER=runpod, vastai, lambda, aws, gcp, colab"
	@echo "make lint          ruff, mypy, and which way imports run"
	@echo "make bench         step times beside the plain trainer's, into bench/results/"
	@echo "make ledger        which kernels a step launches on which GPU, counted without one"
	@echo "make ledger-check  its budgets: kernels, spills, width of accesses (CI)"
	@echo "make bench-store   checkpoints: the loop's stall, and uploads beside boto3's own"
	@echo "make bench-runs    the laptop's commands over a store of 500 runs, 50 ms a request"
	@echo "make bench-start   how soon the laptop's commands answer"
	@echo "make image         the container image (DEVICE=cpu without a GPU); docker/README.md"
	@echo "make image-cuda    builds it for NVIDIA GPUs and tries in it what needs none (minutes, 15 GB)"
	@echo "make image-test    builds it for a CPU and tries it with a real engine (root)"
	@echo "make compare       whether two revisions train to the same bits (ONE=61ca884 OTHER=.; CPU)"
	@echo "make simulate      200,000 schedules of the commit protocol under faults"

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else \
	    'Mimir needs Python 3.11 to 3.13, and $(PYTHON) is ' + sys.version.split()[0] + ': make PYTHON=python3.12 …')"
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,ssh,dev]'
	touch $@

demo: $(VENV)/installed
	$(RUN) scripts/demo.py

# Most tests wait for processes that they start, so three at a time on two cores take less than half
# as long; one thread each, or they would fight for the cores. The policy-enforcing server has one
# set of users and roles, so its tests go one after another.
TEST_JOBS ?= 3
# A part: make test T=tests/runs, or several paths.
T         ?=
test: lint
ifeq ($(strip $(T)),)
	@$(MAKE) --no-print-directory test-most test-policies
else
	OMP_NUM_THREADS=1 $(RUN) -m pytest $(if $(findstring tests/servers,$(T)),,-n $(TEST_JOBS)) $(T)
endif

# The two parts of `make test`, which CI takes the time of one by one.
test-most: $(VENV)/installed
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(TEST_JOBS) --dist worksteal --ignore tests/servers

test-policies: $(VENV)/installed
	$(RUN) -m pytest tests/servers

# No test may depend on how fast the machine is: the same tests beside busy processes.
BUSY      ?= 8
test-loaded: $(VENV)/installed
	tests/loaded.sh $(BUSY) $(MAKE) --no-print-directory test-most

# What passes only because something is fast fails where threads, processes and files wait at random.
# The test that is left out counts the modules of a start, and the one that waits is one more.
test-delayed: $(VENV)/installed
	PYTHONPATH=$(CURDIR)/tests/delays OMP_NUM_THREADS=1 $(RUN) -m pytest -n 6 --dist worksteal \
		--ignore tests/servers --deselect tests/launch/test_imports.py::test_help_imports_few_modules

test-long: $(VENV)/installed
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m long -n $(TEST_JOBS) --dist worksteal

test-gpu: $(VENV)/installed
	MIMIR_REQUIRE_GPU=1 $(RUN) -m pytest tests/e2e/test_gpu.py tests/training/test_capture.py

# Under ten minutes, for whoever has a GPU for a short time: the parts are processes of their own.
PARTS     ?=
gpu-proofs: $(VENV)/installed
	$(RUN) -m bench.gpu_proofs --out build/gpu-proofs --parts "$(PARTS)"

lint: $(VENV)/installed
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

format: $(VENV)/installed
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

# Ceph's S3 server, which enforces policies; fetched with apt, needs root.
test-servers: $(VENV)/installed
	PYTHON=$(RUN) tests/servers/run.sh

# Skipped where there is no Python 3.12; MIMIR_REQUIRE_COLAB=1 makes that a failure.
colab-test: $(VENV)/installed
	tests/colab/run.sh $(RUN) -n 2 --dist worksteal

# The clients in build/clients, where their pinned dependencies are nobody else's.
clients-test: $(VENV)/installed
	MIMIR_VASTAI_CLIENT=$$(tests/clouds/client.sh vastai $(RUN)) \
	MIMIR_RUNPOD_CLIENT=$$(tests/clouds/client.sh runpod) \
	MIMIR_LAMBDA_CLIENT=$$(tests/clouds/client.sh lambda $(RUN)) \
	MIMIR_GCP_CLIENT=$$(tests/clouds/client.sh gcp $(RUN)) \
	$(RUN) -m pytest tests/launch/providers/vastai/test_client.py \
	    tests/launch/providers/runpod/test_client.py tests/launch/providers/lambda_cloud/test_client.py \
	    tests/launch/providers/gcp

# The real service and real dollars, at most half of one; docs/guides/first-real-run.md. OPTIONS: more
# of `submit`. Both are taken from the environment, where make puts them, because they hold quotes.
live: $(VENV)/installed
	@$(RUN) -m scripts.live --provider="$$PROVIDER" --options="$$OPTIONS"

bench: $(VENV)/installed
	$(RUN) -m bench.steps

# Which kernels a step launches on which GPU, counted without one; CHECK=--check holds its budgets.
CHECK     ?=
GPUS      ?= 75,80,89,90,100
PRESETS   ?= large,small
ledger: $(VENV)/installed
	OMP_NUM_THREADS=1 $(RUN) -W ignore -m bench.ledger --presets $(PRESETS) --capabilities $(GPUS) $(CHECK)

# What CI holds: kernels of a step, no spills, no weights moved one by one; as a run has it, and with
# all of our own kernels.
ledger-check: $(VENV)/installed
	$(MAKE) --no-print-directory ledger GPUS=90 PRESETS=large,small CHECK="--check --quiet"
	$(MAKE) --no-print-directory ledger GPUS=90 PRESETS=large,small CHECK="--check --quiet --kernels all"

bench-store: $(VENV)/installed
	$(RUN) -m bench.store

bench-runs: $(VENV)/installed
	$(RUN) -m bench.many_runs

bench-start: $(VENV)/installed
	$(RUN) -m bench.start

ONE       ?= 61ca884
OTHER     ?= .
compare: $(VENV)/installed
	$(RUN) -m bench.compare_revisions $(ONE) $(OTHER)

simulate: $(VENV)/installed
	$(RUN) -m tests.runs.simulate --schedules 200000 --jobs 2

clean:
	rm -rf $(VENV) demo build *.egg-info

# ---- the image: docker/README.md
# make image               for NVIDIA GPUs; DEVICE=cpu for machines without
# make image-cuda          builds it for NVIDIA GPUs and tries in it what needs none
# make image-test          builds it for a CPU from nothing and tries it with a real engine (root)
# make push IMAGE=HOST/YOU/mimir
ENGINE      ?= $(firstword $(shell command -v docker podman))
IMAGE       ?= mimir
DEVICE      ?= cuda
BASE_IMAGE  ?= python:3.11.14-slim-bookworm
# A folder with torch's wheel, instead of an index.
WHEELS      ?=
# PyTorch publishes its builds for a CPU in an index of its own.
TORCH_INDEX ?= $(if $(WHEELS),,https://download.pytorch.org/whl/cpu)
VERSION      = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' mimir/__init__.py)
TAG          = $(VERSION)$(if $(filter cuda,$(DEVICE)),,-$(DEVICE))

.PHONY: image image-cuda image-test push bench-image

image:
	@test -n "$(ENGINE)" || { echo "make image needs Docker or Podman, and neither is installed" >&2; exit 78; }
	@case "$(DEVICE)" in cuda|cpu) ;; *) echo "DEVICE is '$(DEVICE)', but must be cuda or cpu" >&2; exit 78;; esac
	$(ENGINE) build --file docker/Dockerfile --build-arg BASE_IMAGE=$(BASE_IMAGE) --build-arg DEVICE=$(DEVICE) \
	    $(if $(filter cpu,$(DEVICE)),--build-arg TORCH_INDEX=$(TORCH_INDEX)) \
	    $(if $(WHEELS),--build-context wheels=$(WHEELS)) \
	    --build-arg VERSION=$(VERSION) --build-arg REVISION="$(shell git describe --always --dirty 2>/dev/null || echo unknown)" \
	    --tag $(IMAGE):$(TAG) --tag $(IMAGE):latest .

# Minutes, 15 GB of disk and a download of 3 GB, so that CI does not do it; no GPU is needed.
image-cuda:
	$(MAKE) image DEVICE=cuda
	tests/image/cuda.sh "$(ENGINE)" $(IMAGE):$(VERSION)

image-test: $(VENV)/installed
	tests/image/run.sh $(RUN)

push:
	@case "$(IMAGE)" in */*) ;; *) echo "where to: make push IMAGE=HOST/YOU/mimir" >&2; exit 78;; esac
	$(MAKE) image
	$(ENGINE) push $(IMAGE):$(TAG)

bench-image: $(VENV)/installed
	MIMIR_IMAGE_SIZES=1 tests/image/run.sh $(RUN)
