"""Every check of the preflight passes on a machine that is good, and fails on one that is not."""

import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mimir import commands
from mimir.checks import dry_run, preflight_checks
from mimir.checks.preflight import CHECKS, Check, Limits, Report, examine
from mimir.checks.preflight_checks import PreflightChecks
from mimir.errors import BadInput
from mimir.output import export
from mimir.submission import prepare
from mimir.training import checkpoint
from mimir.training.engine import Engine
from mimir.training.loop import Loop
from tests import ROOT
from tests.e2e import jobs
from tests.waiting import LIMIT


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return jobs.write_data(tmp_path / "data.csv", 200)


@pytest.fixture
def run(data: Path) -> Callable[..., Report]:
    def run(limits: Limits | None = None, **settings: Any) -> Report:
        job = prepare("smoke", {**jobs.TINY, "lr": 3e-3, **settings}, str(data))
        checks = PreflightChecks(job, limits or Limits(steps=20), lambda name, part: None)
        return examine("smoke", checks, lambda name, part: None)

    return run


def found(report: Report, name: str) -> Check:
    return next(check for check in report.checks if check.name == name)


def test_all_is_well(run: Callable[..., Report]) -> None:
    report = run()
    assert report.passed, report.table()
    assert tuple(check.name for check in report.checks) == CHECKS
    assert "20 steps, " in found(report, "loop").seen
    assert "there is no GPU" in found(report, "device").seen
    assert report.table().splitlines()[-1] == "preflight of preset smoke passed"
    figures = json.loads(json.dumps(report.as_json()))["figures"]
    assert figures["held_after"] < figures["held_before"] - 0.01
    assert (figures["steps"], figures["exact"], figures["samples_unique"]) == (20, True, 1.0)
    assert figures["checkpoint_bytes"] > 10_000
    assert 0 < figures["memory_peak"] < figures["memory_total"]
    total, step_s = figures["steps_total"], figures["step_s"]
    assert figures["hours"] >= total * step_s / 3600 * 0.99


def test_a_slow_machine_takes_as_many_steps_as_it_can(run: Callable[..., Report]) -> None:
    report = run(Limits(steps=200, seconds=0.0))
    assert "2 steps (not " in found(report, "loop").seen
    assert report.passed, report.table()  # two are enough to see that the loss falls


def test_a_run_shorter_than_the_trial(run: Callable[..., Report]) -> None:
    report = run(max_steps=5)
    assert found(report, "loop").seen.startswith("4 steps, ")


def test_too_long_for_a_session(run: Callable[..., Report]) -> None:
    report = run(Limits(steps=5, hours=1e-9))
    assert [check.name for check in report.checks if check.status == "fail"] == ["forecast"]
    assert "each resumed from the last checkpoint" in found(report, "forecast").seen
    assert not report.passed
    assert run(Limits(steps=5, hours=0)).passed


def test_a_loss_that_does_not_fall(run: Callable[..., Report]) -> None:
    report = run(lr=1e-30, weight_decay=0.0)
    assert found(report, "loss").status == "fail"
    assert "does not fall" in found(report, "loss").seen
    assert found(report, "checkpoint").status == "pass"


def test_not_finite(run: Callable[..., Report]) -> None:
    report = run(lr=1e30)
    assert found(report, "loop").seen.startswith("the loss was not finite")
    assert found(report, "forecast") == Check("forecast", "skip", "not reached")
    assert not report.passed


def test_out_of_memory(run: Callable[..., Report], monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(self: Engine, steps: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Engine, "advance", none_left)
    report = run()
    assert "--accumulate 2" in found(report, "loop").seen
    assert [check.status for check in report.checks[3:]] == ["fail"] + ["skip"] * 6


def test_the_loop_is_the_real_one(
    run: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Loop, "run", lambda self: "finished")
    assert "2 steps (not 20" in found(run(), "loop").seen


def test_a_checkpoint_that_comes_back_otherwise(
    run: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = checkpoint.decode

    def flipped(*words: Any) -> Any:
        record, tensors = decode(*words)
        tensors["ema.norm.weight"].view(torch.uint8)[0] ^= 1
        return record, tensors

    monkeypatch.setattr(checkpoint, "decode", flipped)
    seen = found(run(), "checkpoint")
    assert (seen.status, "ema.norm.weight" in seen.seen) == ("fail", True)


def test_a_machine_that_rounds_as_it_likes(
    run: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    advance, calls = Engine.advance, itertools.count(1)

    def noisy(self: Engine, steps: int) -> None:
        advance(self, steps)
        # Not at random: float32 has nine numbers from 1 to 1.000001, so two draws are often equal.
        self.state.master.mul_(1 + 1e-6 * next(calls))

    monkeypatch.setattr(Engine, "advance", noisy)
    report = run()
    assert found(report, "resume").status == "warn"
    assert report.passed


def test_samples_and_memory_and_dependencies(
    run: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "draw_some", lambda *words: ["ACDE"] * 3)
    monkeypatch.setattr(dry_run, "memory", lambda device: dry_run.Memory(95, 100))
    monkeypatch.setattr(preflight_checks, "PACKAGES", ("torch", "no-such-thing"))
    report = run()
    assert found(report, "samples").seen.startswith(
        "33% of 3 are different: the sampler repeats itself"
    )
    assert found(report, "memory").status == "warn"
    assert found(report, "dependencies").seen == "missing: pip install no-such-thing"
    assert not report.passed


def test_a_slower_way_is_a_warning(
    run: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = preflight_checks.assemble

    def slower(*inputs: Any) -> Engine:
        engine = whole(*inputs)
        engine.machine = replace(engine.machine, why="there is no C compiler")
        return engine

    monkeypatch.setattr(preflight_checks, "assemble", slower)
    report = run()
    assert report.passed
    seen = found(report, "device")
    assert seen.status == "warn"
    assert "not compiled (there is no C compiler)); slower than forecasts count on" in seen.seen


def test_data_without_held_out_peptides(
    run: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mimir.data.peptides import Peptides

    subset = Peptides.subset
    monkeypatch.setattr(
        Peptides, "subset", lambda self, part, *label: subset(self, part, *label)[: part == 0 or 0]
        if part else subset(self, part, *label),
    )  # fmt: skip
    assert run().passed


@pytest.mark.parametrize("hours", [-1.0, math.nan, math.inf])
def test_hours_that_are_none(hours: float) -> None:
    with pytest.raises(BadInput, match="limit-hours"):
        Limits(hours=hours)


def test_the_command(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "report.json"
    tiny = [f"--{name.replace('_', '-')}={value}" for name, value in jobs.TINY.items()]
    done = subprocess.run(
        [
            sys.executable, "-m", "mimir", "preflight", "--preset", "smoke", *tiny, "--lr=3e-3",
            "--data", str(data), "--json", "--out", str(out), "--limit-hours", "0.00001",
        ],
        cwd=ROOT, capture_output=True, text=True, env=dict(os.environ, OMP_NUM_THREADS="1"),
        timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.returncode == 78, done.stderr
    assert json.loads(done.stdout) == json.loads(out.read_text())
    assert json.loads(done.stdout)["passed"] is False
    assert "preflight: forecast" in done.stderr


def test_the_table(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.preflight(preset="smoke", data=str(data), **jobs.TINY, lr=3e-3) == 0
    assert capsys.readouterr().out.endswith("preflight of preset smoke passed\n")


def test_mistakes_are_no_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadInput, match="there is no data file"):
        commands.preflight(preset="smoke", data=str(tmp_path / "none.csv"))
    assert capsys.readouterr().out == ""
