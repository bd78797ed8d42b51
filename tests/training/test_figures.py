"""A held-out figure is one row of a table and one function, and is then seen everywhere."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from launch.report.facts import gather
from launch.report.page import page
from launch.ui.runs import status_text
from mimir.config import Config
from mimir.data.peptides import of_run
from mimir.model.denoiser import Denoiser
from mimir.output.evaluation import measure, table
from mimir.output.model_file import from_run
from mimir.runs import figures, layout, notes
from mimir.runs.figures import FIGURES, Figure
from mimir.runs.notes import Heartbeat
from mimir.runs.parts import read_metrics
from mimir.runs.record import read_run
from mimir.runs.status import derive, read_head
from mimir.runs.store import Store, open_store
from mimir.training.figures import MEASURES, HeldOut, Measured, standard_error
from tests.e2e import jobs
from tests.runs.memory import MemoryStore

NEW = Figure(
    key="val_seven",
    name="seven",
    meaning="always 7",
    line="seven is {value:.1f}",
    baseline="pairs",
    status="of seven",
)


def seven(held: HeldOut, model: Denoiser, timesteps: int, repeats: int) -> Measured:
    return Measured(7.0, len(held.known))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = open_store((tmp_path / "store").as_uri())
    jobs.submit(opened, "run", jobs.write_data(tmp_path / "data.csv", 60), max_steps=6)
    return opened


def test_a_new_row_shows_in_metrics_log_report_evaluation_and_status(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "FIGURES", (*FIGURES, NEW))
    monkeypatch.setitem(MEASURES, NEW.key, seven)
    done, lines = jobs.train(store, "run")
    assert done
    rows = [row for row in read_metrics(store, "run", read_head(store, "run")) if "val" in row]
    assert [row["val_seven"] for row in rows] == [7.0, 7.0]
    assert any(line.startswith("validation") and "seven is 7.0" in line for line in lines)
    record, head = read_run(store, "run"), read_head(store, "run")
    peptides = of_run(store, record)
    assert ">7.0000</td>" in page(gather(store, record, head, rows)).decode()
    # Data without background, of which nothing is held out, still has the other figures.
    bare = gather(store, record, head, [{**row, "val": None} for row in rows])
    assert ">7.0000</td>" in page(bare).decode()
    opened = from_run(store, "run")
    held = measure(opened, peptides, repeats=1, samples=0)
    assert held["nelbo"]["seven"]["model"] == 7.0
    assert held["target"] is None
    shown = table(held)
    assert "the half that is reported" in shown
    assert "its intervals need 12 passes with other masks at least (--repeats is 1)" in shown
    status = derive(store, "run", time.time())
    assert ", of seven 7.0000" in status_text(status)
    assert status.as_json()["figures"] == {"val_seven": 7.0}


def test_every_figure_is_computed_and_has_names_of_its_own() -> None:
    assert MEASURES.keys() == {figure.key for figure in FIGURES}
    for field in ("key", "name", "meaning"):
        assert len({getattr(figure, field) for figure in FIGURES}) == len(FIGURES)


def test_the_stored_documents_are_as_before_without_a_further_figure(store: Store) -> None:
    jobs.train(store, "run", steps=4)
    beat = json.loads(store.get(layout.heartbeat_key("run", 1)))
    always = {
        "device", "epoch", "execution", "format", "host", "interval_s", "loss", "pid", "python",
        "rate", "step", "time", "torch", "total_steps", "training_s",
    }  # fmt: skip
    # Whether the last heartbeat knew of a commit and a validation is a matter of the moment, and
    # whether torch has CUDA one of the machine.
    assert always <= beat.keys() <= always | {"commit_s", "cuda", "val"}
    status = derive(store, "run", time.time())
    assert "figures" not in status.as_json()
    assert status.val is None or f"held-out {status.val:.4f}" in status_text(status)


def test_what_a_machine_says_of_figures_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "FIGURES", (*FIGURES, NEW))
    assert figures.from_heartbeat({"val_seven": 7, "val": 1.0, "\x1b[2J": 3.0}) == {
        "val_seven": 7.0
    }
    for odd in ("7", None, [7], math.nan, math.inf, 10**400):
        assert figures.from_heartbeat({"val_seven": odd}) == {}
    assert figures.from_heartbeat("no object") == {}


def test_a_heartbeat_with_figures_comes_back() -> None:
    memory = MemoryStore()
    beat = Heartbeat(time=1.0, step=2, total_steps=3, figures={"val_seven": 7.0})
    notes.write_heartbeat(memory, "run", 1, beat)
    assert notes.read_heartbeat(memory, "run", 1) == beat


def test_the_standard_error_is_that_of_a_mean_of_peptides_of_one_length(store: Store) -> None:
    record = read_run(store, "run")
    config, data = Config.from_dict(record.config), of_run(store, record)
    held = HeldOut.of(data, torch.device("cpu"), 100, config.objective).background
    even = replace(held, lengths=torch.full_like(held.lengths, 4))
    nats = torch.arange(len(even), dtype=torch.float64)
    wanted = float(nats.std()) / len(even) ** 0.5 / 4
    assert standard_error(nats, even) == pytest.approx(wanted, rel=1e-6)
    # A peptide's nats in proportion to its letters leave nothing to be unsure of.
    assert standard_error(held.lengths.double() * 2.9, held) == pytest.approx(0.0, abs=1e-6)


def test_every_validation_tells_its_standard_errors(store: Store) -> None:
    jobs.train(store, "run", steps=4)
    rows = [row for row in read_metrics(store, "run", read_head(store, "run")) if "val" in row]
    assert rows
    for row in rows:
        told = {key.removesuffix(figures.ERROR) for key in row if key.endswith(figures.ERROR)}
        assert "val" in told
        assert told <= {figure.key for figure in FIGURES}  # one peptide alone has no error
        assert all(row[key] is not None and 0 < row[key + figures.ERROR] < 1 for key in told)
