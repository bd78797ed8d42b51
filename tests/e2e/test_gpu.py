"""A whole training on a GPU, killed in the middle: `make test-gpu`."""

from pathlib import Path

import pytest

from mimir.runs.begin import raise_attempt
from mimir.runs.status import read_head
from mimir.runs.store import open_store
from mimir.submission import enter, prepare
from tests.e2e import jobs
from tests.gates import Gate
from tests.gpu import needs_gpu
from tests.waiting import LIMIT, wait_for

pytestmark = needs_gpu
KILLED_AFTER, HELD_AT = 6000, 9000
"""Of the small preset's 13,120 steps on the sample: it is killed between the two."""
SETTINGS = {"device": "cuda", "checkpoint_steps": 256}
SLOWER = "going on"
"""What an attempt says that leaves the fast mode."""


def test_a_whole_small_training_killed_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The preset as users run it, beside an undisturbed run: the same weights, bit for bit.

    Each attempt compiles anew, as each does on a machine of its own.
    """
    store, gate = open_store((tmp_path / "store").as_uri()), Gate(tmp_path / "gate")
    for name in ("calm", "torn"):
        enter(store, name, prepare("small", SETTINGS))
    gate.open(HELD_AT)
    said, processes, left = {}, {}, 0
    # The two share the GPU, which changes when their kernels run and not what they compute.
    for name, held in (("calm", None), ("torn", gate), ("resumed", gate)):
        for variable in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
            monkeypatch.setenv(variable, str(tmp_path / f"{name}-{variable}"))
        run, said[name] = "calm" if name == "calm" else "torn", tmp_path / f"{name}.txt"
        if name == "resumed":
            torn = processes["torn"]
            wait_for(
                lambda: read_head(store, "torn").step >= KILLED_AFTER or torn.poll() is not None,  # noqa: B023
                f"the commit of step {KILLED_AFTER}", every=0.01,
            )  # fmt: skip
            assert torn.poll() is None, said["torn"].read_text()
            jobs.kill(torn)
            left = read_head(store, "torn").step
            gate.open()
        number = raise_attempt(store, run)
        processes[name] = jobs.worker(store, run, number, out=said[name], gate=held)
    for name in ("resumed", "calm"):
        code = processes[name].wait(timeout=LIMIT)
        assert code == 0, said[name].read_text()
    for text in said.values():
        assert SLOWER not in text.read_text()
    assert f"step {left:,} of" in said["resumed"].read_text()
    jobs.assert_same(store, "torn", "calm")
