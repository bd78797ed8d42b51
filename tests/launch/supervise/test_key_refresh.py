"""Keys on this computer's engine are replaced in time, and STS is not asked for more."""

import json
import os
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launch.contract import deadlines, state
from launch.payload import credentials
from launch.payload.credentials import Credentials, How
from launch.supervise import key_refresh
from mimir.errors import StoreDenied
from mimir.runs.machine import Machine
from mimir.runs.order import KeySource

NOW = 1_800_000_000.0
HOUR = 3600.0
URL = "s3://bucket/runs"


class Place:
    """A folder with an attempt's keys, and an STS that notes what it is asked for.

    skew: seconds by which this computer's clock is ahead of the store's, which is STS's.
    """

    def __init__(self, folder: Path, skew: float, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(folder))
        self.file = state.of_attempt("keys", URL, "run", 3) / "keys.json"
        self.machine = Machine("docker", NOW, host=platform.node())
        self.asked: list[tuple[str, str, int, float, How]] = []
        self.source = KeySource()
        self.longest = 12 * HOUR
        self.now = NOW
        self.skew = skew
        monkeypatch.setattr(credentials, "mint", self._mint)

    def _mint(
        self, url: str, run: str, attempt: int, life: float, how: How, *, sweep: str
    ) -> Credentials:
        assert sweep == "lr"
        self.asked.append((url, run, attempt, life, how))
        ends = self.now + min(
            max(life + deadlines.KEYS_OUTLIVE, credentials.SHORTEST_LIFE), self.longest
        )
        return Credentials("a new id", "a new secret", "a token", ends)

    def write(self, life: float | None, made: float = NOW) -> None:
        """Keys that were made then, for so long."""
        ends = None if life is None else made + life
        Credentials("an old id", "a secret", "a token", ends).to_file(self.file)
        os.utime(self.file, (made + self.skew,) * 2)

    def look(self) -> bool:
        before = self.file.read_text() if self.file.exists() else ""
        done = key_refresh.if_due(
            self.machine, URL, "run", 3, self.source, lambda: self.now,
            lambda: self.now + self.skew, "lr",
        )  # fmt: skip
        if done:
            os.utime(self.file, (self.now + self.skew,) * 2)
        assert done == (before != (self.file.read_text() if self.file.exists() else ""))
        return done

    def looks(self, hours: float) -> int:
        """How often they are replaced, looked at every half minute."""
        until, count = self.now + hours * HOUR, 0
        while self.now < until:
            count += self.look()
            assert json.loads(self.file.read_text())["Expiration"] > _text(self.now)
            self.now += 30.0
        return count


def _text(seconds: float) -> str:
    return str(json.loads(Credentials("i", "s", "", seconds).text())["Expiration"])


@pytest.fixture(params=[0.0, -3 * HOUR, 3 * HOUR])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, request.param, monkeypatch)


def test_an_hour_before_their_end(place: Place) -> None:
    place.write(12 * HOUR)
    place.now = NOW + 11 * HOUR - 1
    assert not place.look()
    place.now = NOW + 11 * HOUR
    assert place.look()
    assert place.asked == [(URL, "run", 3, credentials.NO_DEADLINE, credentials.Federation())]
    assert json.loads(place.file.read_text())["AccessKeyId"] == "a new id"
    assert place.file.stat().st_mode & 0o777 == 0o600
    assert not place.look()


def test_the_wished_role_is_asked(place: Place) -> None:
    place.source = KeySource("arn:aws:iam::123456789012:role/machines")
    place.write(HOUR, NOW - HOUR + 60)
    assert place.look()
    assert place.asked[0][-1] == credentials.AssumeRole(place.source.role)


def test_they_last_until_the_deadline_and_no_longer(place: Place) -> None:
    place.machine = replace(place.machine, deadline=NOW + 5 * HOUR)
    place.write(2 * HOUR)
    place.now = NOW + HOUR
    assert place.look()
    assert place.asked[0][3] == 4 * HOUR
    assert place.looks(4.4) == 0  # they outlive the deadline: to its end nothing is asked


def test_a_role_of_one_hour_is_not_asked_at_every_look(place: Place) -> None:
    place.longest = HOUR
    place.write(HOUR)
    assert place.looks(10) == 19
    place.machine = replace(place.machine, deadline=place.now + 3 * HOUR)
    assert place.looks(3) in (4, 5, 6)


@pytest.mark.parametrize(
    "other",
    [
        {"host": "elsewhere"},
        {"host": ""},
    ],
)
def test_a_machine_elsewhere(place: Place, other: dict[str, Any]) -> None:
    place.write(HOUR, NOW - HOUR + 60)
    place.machine = replace(place.machine, **other)
    assert not place.look()


def test_ones_own_keys_and_keys_without_end_stay(place: Place) -> None:
    place.write(None)
    assert not place.look()
    place.file.write_text("[]")
    assert not place.look()
    place.file.write_text("no JSON")
    assert not place.look()
    place.write(HOUR, NOW - HOUR + 60)
    place.source = KeySource(static=True)
    assert not place.look()
    assert not place.asked


def test_what_sts_says_is_raised_and_the_old_keys_stay(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*args: object, **more: object) -> Credentials:
        raise StoreDenied("your own credentials have expired")

    monkeypatch.setattr(credentials, "mint", denied)
    place.write(HOUR, NOW - HOUR + 60)
    with pytest.raises(StoreDenied, match="expired"):
        place.look()
    assert "an old id" in place.file.read_text()


def test_where_keys_are_put_is_computed_and_not_read(place: Place, tmp_path: Path) -> None:
    """The record in the store names a folder of this computer."""
    theirs = tmp_path / "precious" / "keys.json"
    Credentials("theirs", "a secret", "a token", NOW + 60).to_file(theirs)
    place.machine = replace(place.machine, details={"keys": str(theirs.parent)})
    assert not place.look()
    place.write(HOUR, NOW - HOUR + 60)
    assert place.look()
    assert "theirs" in theirs.read_text()
