"""Who ends a machine stands in the plan and on each provider's page, and comes from its caps."""

import json

import pytest

from launch.commands.submit import submit
from launch.contract.provider import Caps, ShutDown
from launch.providers import registry
from launch.ui import enforcement
from tests import ROOT
from tests.launch.conftest import Fake

PAGES = {
    name: f"docs/providers/{name}.md" if registry.ROWS[name].rents else f"docs/{name}.md"
    for name in registry.names()
    if registry.get(name).caps.remote
}


@pytest.mark.parametrize("name", PAGES)
def test_each_providers_page_has_the_table(name: str) -> None:
    table = enforcement.markdown(registry.get(name).caps)
    assert table in (ROOT / PAGES[name]).read_text(), f"it must hold\n{table}"


def place(caps: Caps, name: str = "fake") -> Fake:
    made = Fake(name)
    made.caps = caps
    return made


def test_what_no_machine_enforces_is_told_apart() -> None:
    alone = enforcement.lines([place(Caps(paid=True))])
    assert alone
    assert all("only by a computer of yours" in e for e in alone if "starts" in e)
    both = enforcement.lines([place(Caps(paid=True, ends_itself=True))])
    deadline = next(line for line in both if "deadline" in line)
    assert "by the machine (ends its work and itself) and a computer" in deadline
    assert "only" not in deadline
    assert enforcement.lines([place(Caps(paid=False))]) == [], "this computer's own"


def test_a_machine_that_shuts_itself_down_is_not_gone_and_its_service_deletes_it_later() -> None:
    down = ShutDown("only its disk is paid then", 0.01, 3630.0)
    caps = Caps(paid=True, image=True, service_deadline="deletes it, soon after", shuts_down=down)
    found = {each.what: each for each in enforcement.limits(caps)}
    end = found["the end of the run"]
    assert end.machine == (
        "ends its work and shuts itself down, unless the service deletes it within 60 min; only "
        "its disk is paid then"
    )
    assert end.service == "deletes it, soon after the deadline"
    deadline = found["the deadline, from --max-hours and --max-cost"]
    assert (deadline.machine, deadline.service) == (
        "ends its work; it is paid on", "deletes it, soon after",
    )  # fmt: skip
    assert "25 min after its boot" in found["a machine that never starts"].machine
    assert "shuts itself down" in found["an image without Python 3.9"].machine
    without = enforcement.limits(Caps(paid=True, image=True))
    assert {each.what: each.service for each in without}["the end of the run"] == ""
    assert not any("shuts" in each.machine for each in without)


def test_of_several_providers_each_has_its_own() -> None:
    several = [place(Caps(paid=True), "a"), place(Caps(paid=True, ends_itself=True), "b")]
    names = {line.partition(":")[0] for line in enforcement.lines(several)}
    assert names == {"a", "b"}


def test_a_plan_on_this_computer_says_nothing_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    submit(preset="smoke", store=f"file://{tmp_path}/store", dry_run=True, json=True)
    out, err = capsys.readouterr()
    assert json.loads(out)["ended_by"] == []
    assert "nothing is known to watch" not in err
