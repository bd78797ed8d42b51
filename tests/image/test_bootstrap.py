"""The public image's stand-in (Python and torch, no compiler, no Python.h) as a rented machine."""

import subprocess
from pathlib import Path

import pytest

from launch.contract.provider import AttemptSpec
from launch.payload import container
from mimir.runs import notes
from mimir.runs.begin import raise_attempt
from mimir.runs.execution import Execution
from mimir.runs.store import Store, open_store
from tests.e2e import jobs
from tests.image.conftest import STOCK, docker
from tests.waiting import LIMIT

LACK = (
    'PYTHONPATH=$(echo /tmp/mimir-*/code) python3 -c "from mimir.training import compiler;'
    "print('lacks:', compiler.module_lack('cuda') or 'nothing')\""
)
STUB = """\
int cuInit(unsigned int flags) { return 802; }
int cuGetErrorString(int code, const char **text) {
  *text = "system not yet initialized"; return 0; }
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with a run of a few steps, which any user of a container may write."""
    opened = open_store((tmp_path / "store").as_uri())
    jobs.submit(opened, "run", jobs.write_data(tmp_path / "data.csv", 60), max_steps=4)
    raise_attempt(opened, "run")
    subprocess.run(["chmod", "-R", "a+rwX", str(tmp_path)], check=True, timeout=LIMIT)
    return opened


def rented(store: Store, tmp_path: Path, *words: str, then: str = "", code: int = 0) -> str:
    """What a machine prints that starts an attempt of the run, and then this shell command."""
    what = container.of(store, AttemptSpec("file:///data", "run", 1), "", None)
    env = [word for name, value in what.env.items() for word in ("--env", f"{name}={value}")]
    script = what.command[-1] if not then else f"({what.command[-1]}); {then}"
    mounted = ("--volume", f"{tmp_path / 'store'}:/data", "--env", "OMP_NUM_THREADS=1")
    return docker("run", "--rm", *mounted, *env, *words, STOCK, "sh", "-c", script, code=code)


def test_a_compiler_is_installed_with_its_headers(store: Store, tmp_path: Path) -> None:
    said = rented(store, tmp_path, "--user", "0:0", then=LACK)
    assert "mimir: a C compiler was missing and is installed (" in said
    assert "lacks: nothing" in said
    assert "run run, attempt 1: claimed; " in said
    assert "run run is done" in said
    beat = notes.read_heartbeat(store, "run", 1)
    assert beat is not None
    assert beat.execution == Execution("cpu", "fp32")


def test_where_it_may_not_be_the_lack_is_told(store: Store, tmp_path: Path) -> None:
    said = rented(store, tmp_path, "--user", "12345:12345", "--env", "HOME=/tmp", then=LACK)
    lack = "there is no C compiler"
    assert f"mimir: {lack}, and it cannot be installed (this is not root): slower training" in said
    assert f"lacks: {lack}" in said
    assert "run run is done" in said


def test_a_driver_that_fails_ends_the_attempt_with_its_words(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "driver"
    folder.mkdir()
    (folder / "stub.c").write_text(STUB)
    words = ["gcc", "-shared", "-fPIC", "stub.c", "-o", "libcuda.so.1"]
    subprocess.run(words, cwd=folder, check=True, timeout=LIMIT)
    stub = ("--volume", f"{folder}:/driver:ro", "--env", "LD_LIBRARY_PATH=/driver")
    said = rented(store, tmp_path, *stub, "--env", "MIMIR_COMPILER=never", code=78)
    assert "cannot be used: CUDA error 802: system not yet initialized; mend the driver" in said
    end = notes.read_outcome(store, "run", 1)
    assert end is not None
    assert end.exit_code == 78
