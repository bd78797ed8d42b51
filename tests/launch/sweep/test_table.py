import csv
import html
import io
import json
import math

from launch.sweep import page, table
from launch.sweep.table import Row, as_csv, as_json, groups, rows, text
from mimir.config import load_preset
from mimir.runs import layout
from mimir.runs.attempts import Worked
from mimir.runs.head import Kept
from mimir.runs.listing import Listed
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone
from mimir.runs.order import Order, Plan
from mimir.runs.status import Status
from mimir.runs.sweep import Member, Sweep
from tests.launch.paper import START, attempt, offer, status

VALUES = ((1e-3, 0, 2.90), (1e-3, 1, 2.94), (3e-4, 0, 2.80), (3e-4, 1, 2.70))
SELECTED = {"lr-000": 3.05, "lr-001": 3.01, "lr-002": 2.95, "lr-003": 2.99}
"""Whose order is another one than that of the reported figures."""


def listed(*states: str) -> tuple[Sweep, list[Row]]:
    members = tuple(
        Member(f"lr-{n:03d}", "smoke", {"lr": lr, "seed": seed}, 100)
        for n, (lr, seed, _) in enumerate(VALUES)
    )
    sweep = Sweep("lr", START, {"smoke": load_preset("smoke").as_dict()}, members, Plan(("local",)),
                  max_cost=20.0)  # fmt: skip
    looked = [
        Listed(member.run, None, "run.json is missing") if state == "damaged"
        else Listed(member.run, made(member.run, state, value))
        for member, state, (_, _, value) in zip(members, states, VALUES, strict=True)
    ]  # fmt: skip
    return sweep, rows(sweep, looked)


def made(run: str, state: str, value: float) -> Status:
    if state == "not begun":
        return status(run=run, state="queued", sweep="lr")
    order = Order("runpod", Plan(("runpod",)), START - 7200, offer(0.25))
    gone = Gone(START, "over", "done") if state != "running" else None
    its = attempt(1, order=order, machine=Machine("runpod", order.time, price=0.25), gone=gone)
    kept = tuple(
        Kept(layout.checkpoint_key(run, 1, step, "abc123abc123"), step, 1, 10, "0" * 64, loss)
        for step, loss in ((40, SELECTED[run]), (50, 4.0))
    )
    return status(its, run=run, state=state, step=50, val=value, sweep="lr", kept=kept,
                  best=kept[0].key)  # fmt: skip


def test_a_table_for_people() -> None:
    sweep, found = listed("done", "done", "running", "not begun")
    shown = text(sweep, "", found)
    lines = shown.splitlines()
    assert lines[0] == "sweep lr: 2 done, 1 running, 1 not begun; $1.50 so far of $20.00"
    assert lines[2].split() == ["RUN", "LR", "SEED", "STATE", "STEP", "HELD-OUT", "COST"]
    assert lines[3].split() == [
        "lr-000",
        "0.001",
        "0",
        "done",
        "50",
        "of",
        "100",
        "2.9000",
        "$0.50",
    ]
    assert "lr-003    0.0003  1     not begun" in lines[6]
    assert lines[4].startswith("lr-001 *  0.001 ")
    assert "* the best of the finished runs, by the held-out half that selects" in lines
    assert lines[-1].split() == ["0.001", "2", "2.9200", "±", "0.0283"]


def test_a_narrow_terminal_gets_fewer_columns_and_whole_sentences() -> None:
    sweep, found = listed("done", "done", "damaged", "not begun")
    for width in (80, 60, 40, 30):
        lines = text(sweep, "", found, width).splitlines()
        assert max(map(len, lines)) <= width
        assert "by the held-out half that selects" in " ".join(lines)
    assert text(sweep, "", found, 200) == text(sweep, "", found)
    lines = text(sweep, "", found, 42).splitlines()
    head = next(line for line in lines if line.startswith("RUN"))
    assert head.split() == ["RUN", "LR", "SEED", "HELD-OUT"]
    assert "too narrow for COST, STEP, STATE; `--json`" in " ".join(lines)


def test_the_best_is_a_finished_run_if_there_is_one() -> None:
    """By the half that selects: chosen by the reported one, its figure would be too good."""
    _, found = listed("done", "done", "running", "running")
    assert [row.best for row in found] == [False, True, False, False]
    _, found = listed("running", "running", "running", "running")
    assert [row.best for row in found] == [False, False, True, False]
    sweep, found = listed(*4 * ["not begun"])
    assert not any(row.best for row in found)
    assert "*" not in text(sweep, "", found)


def test_mean_and_spread_over_seeds() -> None:
    _, found = listed("done", "done", "done", "failed")
    one, other = groups(found)
    assert one.settings == {"lr": 1e-3}
    mean, spread = one.figures["val"]
    assert (one.runs, mean) == (2, 2.92)
    assert spread is not None
    assert math.isclose(spread, 0.02 * math.sqrt(2), rel_tol=1e-6)
    assert (other.runs, other.figures["val"]) == (1, (2.80, None))


def test_a_run_that_cannot_be_read_does_not_hide_the_others() -> None:
    sweep, found = listed("done", "damaged", "done", "done")
    shown = text(sweep, "asked to stop", found)
    assert "sweep lr (asked to stop): 3 done, 1 damaged" in shown
    assert "lr-001: run.json is missing" in shown
    assert json.loads(json.dumps(as_json(sweep, "stop", found)))["runs"][1]["problem"]


def test_json_and_csv_have_all_digits() -> None:
    sweep, found = listed("done", "done", "done", "not begun")
    body = json.loads(json.dumps(as_json(sweep, "go", found)))
    assert body["state"] == "go"
    assert body["runs"][2] == {
        "run": "lr-002", "settings": {"lr": 3e-4, "seed": 0}, "state": "done", "step": 50,
        "total_steps": 100, "figures": {"val": 2.8}, "hours": 2.0, "at_least": False,
        "dollars": 0.5, "best": True, "problem": "",
    }  # fmt: skip
    assert body["groups"][0]["figures"]["val"]["mean"] == 2.92
    sheet = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert [row["run"] for row in sheet] == ["lr-000", "lr-001", "lr-002", "lr-003"]
    assert (sheet[2]["lr"], sheet[2]["val"], sheet[2]["best"]) == ("0.0003", "2.8", "True")
    assert (sheet[3]["val"], sheet[3]["dollars"]) == ("", "")


def test_hours_of_a_killed_attempt_are_a_lower_bound() -> None:
    sweep, _ = listed(*4 * ["not begun"])
    killed = attempt(
        1, end="lost without a word", machine=Machine("local", START - 7200),
        worked=Worked(START - 3600, 50),
    )  # fmt: skip
    first, *others = [member.run for member in sweep.members]
    looked = [Listed(first, status(killed, run=first))]
    found = rows(sweep, [*looked, *(Listed(run, made(run, "done", 2.9)) for run in others)])
    assert [(row.hours, row.at_least) for row in found[:2]] == [(1.0, True), (2.0, False)]
    assert as_json(sweep, "", found)["runs"][0]["at_least"] is True
    sheet = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert [row["at_least"] for row in sheet[:2]] == ["True", "False"]
    shown = html.unescape(page.page(sweep, "", found, [], []).decode())
    assert "<dt>time of machines</dt><dd>at least 7.0 h</dd>" in shown
    assert ">at least 1.0 h</td>" in shown


def test_what_a_machine_wrote_cannot_move_the_cursor() -> None:
    sweep, found = listed("done", "done", "done", "done")
    bad = table.replace(found[0], problem="\x1b[2J")
    assert "\x1b" not in text(sweep, "", [bad, *found[1:]])
