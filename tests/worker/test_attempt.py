"""An attempt tells how it executes its steps from its first line on, and whose fault a GPU is."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from mimir.errors import BAD_CONFIG, HOST_UNFIT, BadInput, MachineUnfit
from mimir.runs import notes
from mimir.runs.begin import raise_attempt
from mimir.runs.execution import Execution
from mimir.runs.order import Offer, Order, Plan
from mimir.runs.parts import read_metrics
from mimir.runs.status import read_head
from mimir.runs.store import open_store
from mimir.training import driver
from mimir.worker import notices
from mimir.worker.attempt import Stop, run_attempt
from tests import ROOT
from tests.e2e import jobs
from tests.gpu import OLD, unavailable
from tests.waiting import LIMIT


def test_the_path_is_in_log_heartbeat_and_metrics(tmp_path: Path) -> None:
    store = open_store((tmp_path / "store").as_uri())
    jobs.submit(store, "run", jobs.write_data(tmp_path / "data.csv", 60), max_steps=4)
    done, lines = jobs.train(store, "run")
    assert done
    first, *others = lines
    assert first.startswith("run run, attempt 1: claimed; ")
    assert first.endswith(": fp32, not compiled")
    assert any(": fp32, not compiled; " in line for line in others)
    beat = notes.read_heartbeat(store, "run", 1)
    assert beat is not None
    assert beat.execution == Execution("cpu", "fp32")
    rows = [r for r in read_metrics(store, "run", read_head(store, "run")) if "loss" in r]
    assert {(r["compiled"], r["mantissa_bits"]) for r in rows} == {(0, 23)}


UNREADY = "CUDA initialization: Unexpected error. Error 802: system not yet initialized"
NONE = "CUDA initialization: Found no NVIDIA driver on your system."
LOCAL = Order("local", Plan(("local",)), 0.0)
CPU_ONLY = replace(LOCAL, provider="colab", offer=Offer("colab", "1", "cpu", 0.0, 0.0))
RENTED = replace(LOCAL, provider="vastai", offer=Offer("vastai", "1", "RTX 4090", 24.0, 0.3))


@pytest.mark.parametrize(
    ("device", "warned", "words"),
    [
        ("auto", UNREADY, "GPU of this machine cannot be used: .*802: system not yet initialized"),
        ("cuda", UNREADY, "GPU of this machine cannot be used: .*802: system not yet initialized"),
        ("auto", OLD, r"driver of this machine is too old \(it goes up to CUDA 12\.2\): this"),
        ("cuda", NONE, "no GPU is visible"),
        ("auto", NONE, "no GPU is visible"),
    ],
    ids=["802", "802, cuda", "driver", "none, cuda", "none"],
)
@pytest.mark.parametrize(
    "order", [None, LOCAL, CPU_ONLY, RENTED], ids=["by hand", "local", "without a GPU", "rented"]
)
def test_a_broken_gpu_is_the_fault_of_the_host_that_was_rented(
    device: str,
    warned: str,
    words: str,
    order: Order | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run goes on on another host; on a machine of one's own, a person must mend it."""
    store = open_store((tmp_path / "store").as_uri())
    data = jobs.write_data(tmp_path / "data.csv", 60)
    jobs.submit(store, "run", data, max_steps=1, device=device, compile="off")
    raise_attempt(store, "run", order)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(driver, "LIBRARY", "libnothing.so.1")
    monkeypatch.setattr(torch.cuda, "is_available", unavailable(warned))
    work = partial(run_attempt, store, "run", 1, Stop(), jobs.Silent())
    if order is RENTED:
        with pytest.raises(MachineUnfit, match=f"{words}.*; the run goes on elsewhere$") as unfit:
            work()
        assert unfit.value.exit_code == HOST_UNFIT
        assert "--device cpu" not in str(unfit.value)
    elif (device, warned) == ("auto", NONE):
        assert "is done" in work()
    else:
        with pytest.raises(BadInput, match=f"{words}.*--device cpu") as bad:
            work()
        assert bad.value.exit_code == BAD_CONFIG


@pytest.mark.parametrize("module", ["torch", "sitecustomize"], ids=["torch", "Python's own start"])
def test_ctrl_c_within_an_early_import_ends_without_a_traceback(
    tmp_path: Path, module: str
) -> None:
    """As a terminal sends it to the worker and to this process."""
    go_on = tmp_path / "go on"
    (tmp_path / f"{module}.py").write_text(
        "import os, time\nprint('importing', flush=True)\n"
        f"while not os.path.exists({str(go_on)!r}):\n    time.sleep(0.02)\n"
    )
    with notices.kept():
        process = subprocess.Popen(
            [sys.executable, "-m", "mimir.worker.attempt"],
            env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"importing\n"
            process.send_signal(signal.SIGINT)
            go_on.touch()
            assert process.communicate(timeout=LIMIT) == (b"", None)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize("early", [True, False])
def test_a_request_for_a_checkpoint_is_kept_until_training_can_take_it(early: bool) -> None:
    stop, taken = Stop(), []
    steps = [stop._ask, lambda: stop.on_request(lambda: taken.append("one"))]
    for step in steps if early else reversed(steps):
        step()
    assert taken == ["one"]
