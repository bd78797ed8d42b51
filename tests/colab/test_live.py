"""What `make colab-live` does, with a `colab` that answers as recorded."""

from types import SimpleNamespace

import pytest

from launch.providers.colab import session
from tests.colab import live, said
from tests.colab.computer import Place
from tests.waiting import wait_for


@pytest.fixture(autouse=True)
def _until_it_has_printed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks once, and not after some seconds, but as soon as there is something to see."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += live.SECONDS
        log = place.cli / "content" / f"{live.NAME}.log"
        wait_for(lambda: log.exists() and "disk GB free" in log.read_text(), "its output")

    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))


def test_it_runs_and_ends_its_session(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert live.main() == 0
    out = capsys.readouterr().out
    assert "ok: Current balance: 0.00 compute units" in out
    assert "session gpu-t4-s-1: its cell runs" in out
    assert "there: True; printed: ['python " in out
    assert out.endswith("ended; there: False\nleft on this computer: nothing but a log\n")
    assert place.endpoints == []


def test_it_ends_its_session_after_a_ctrl_c(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(live.ColabProvider, "output", interrupted)
    assert live.main() == 130
    assert capsys.readouterr().out.endswith("nothing but a log\n")
    assert place.endpoints == []


def test_a_session_that_stays_is_said(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "SESSION_GONE_WITHIN", 0.0)
    place.answer_always("stop", 0, "[colab] Session 'x' not found.")
    assert live.main() == 75
    assert "Manage sessions" in capsys.readouterr().err
    assert place.endpoints == ["gpu-t4-s-1"]


def test_without_a_login_it_makes_no_session(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("usage", "new"):
        place.answer(command, 1, said.NO_LOGIN)
    assert live.main() == 78
    assert "sign in once" in capsys.readouterr().err
    assert place.endpoints == []
