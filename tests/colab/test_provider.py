"""The provider with a CLI that answers as recorded: every state, without any server."""

import json
import os
import platform
import shutil
import stat
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from launch.contract.errors import BalanceEmpty, NoCapacity, NotGone, ProviderError, UnknownOutcome
from launch.contract.provider import AttemptSpec
from launch.providers import registry
from launch.providers.colab import folder as colab_folder
from launch.providers.colab import provider
from launch.providers.colab.cli import Cli
from launch.providers.colab.offers import accelerator, offer, offers
from mimir.errors import BadInput
from mimir.runs.machine import Machine
from tests.colab import said
from tests.colab.computer import NAME, SECRET, SPEC, WAITS, Place
from tests.waiting import LIMIT, unless_it_hangs, wait_for


def of(endpoint: str) -> Machine:
    """The record of a session that this computer made."""
    return Machine("colab", 1.0, name=NAME, host=platform.node(), details={"endpoint": endpoint})


def test_an_attempt_from_its_session_to_its_end(place: Place) -> None:
    record = place.begin()
    assert record.provider == "colab"
    assert (record.gpu, record.detail("endpoint")) == ("T4", "gpu-t4-s-1")
    assert SECRET not in json.dumps(record.as_json())
    assert place.provider.alive(record) is True
    wait_for(lambda: place.provider.output(record, 5) == ["it works"], "its output")
    assert place.secrets() == [], "keys are in the worker's memory alone"
    place.provider.end(SPEC, record)
    assert (place.folder / "cli" / "content" / f"{NAME}.exit").read_text() == "75"
    assert place.endpoints == []
    assert place.provider.alive(record) is False
    assert not place.attempt.exists()
    place.provider.end(SPEC, record)


def test_the_watch_ends_the_session_of_a_worker_that_has_ended(place: Place) -> None:
    record = place.begin("print('cannot'); raise SystemExit(78)")
    wait_for(lambda: not place.attempt.exists(), "its end")
    assert place.endpoints == []
    (place.folder / "cli" / "content" / f"{NAME}.log").unlink()
    assert place.provider.output(record, 5) == ["cannot"]
    kept = place.attempt.with_name(f"{NAME}.log")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_the_watch_leaves_when_the_session_is_lost(place: Place) -> None:
    record = place.begin()
    place.lose()
    assert place.provider.alive(record) is False
    wait_for(lambda: not place.attempt.exists(), "its end")
    assert "stop" not in [call["words"][2] for call in place.asked()]


def test_a_look_of_the_watch_is_over_before_its_home_is_deleted(place: Place) -> None:
    place.begin()
    (place.folder / "cli" / "slow").touch()
    wait_for((place.folder / "cli" / "slow-now").exists, "a look of the watch")
    provider.clear(place.attempt)
    assert place.running() == [], "the look was not ended, and would make itself a home"
    assert not place.attempt.exists()


def test_a_look_goes_on_while_the_watch_clears(place: Place) -> None:
    place.provider._every = 600.0
    code = "import os,time\nwhile not os.path.exists('enough'): time.sleep(.05)"
    record = place.begin(code)
    (place.folder / "cli" / "slow").touch()
    seen: list[bool | None] = []
    look = threading.Thread(target=lambda: seen.append(place.provider.alive(record)))
    look.start()
    wait_for((place.folder / "cli" / "slow-now").exists, "a look of the watch")
    (place.folder / "cli" / "content" / "enough").touch()
    wait_for(lambda: not place.attempt.exists(), "its end")
    (place.folder / "cli" / "slow-now").unlink()
    look.join(LIMIT)
    assert seen == [False]
    assert not place.attempt.exists(), "the look made itself a home where the watch had cleared"


def test_what_the_cli_gets_of_ours(place: Place) -> None:
    place.begin()
    for call in place.asked():
        environ = call["environ"]
        assert call["umask"] == 0o077
        assert not [name for name in environ if name.startswith("AWS_")]
        assert SECRET not in json.dumps(call)
        assert "--env" not in call["words"]
        assert call["words"][:2] == ["--auth", "oauth2"]
        assert str(place.root) in environ["HOME"]
        assert int(environ["REQUEST_TIMEOUT"]) >= 60, "a kernel may take longer than ten seconds"
    home = place.attempt / "home"
    own = home / ".config" / "colab-cli"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE(place.attempt.stat().st_mode) == 0o700
    assert os.readlink(own / "colab.log") == os.devnull
    assert os.readlink(own / "history" / f"{NAME}.jsonl") == os.devnull
    assert json.loads((own / "token.json").read_text()) == {"token": "ya29.planted"}
    assert json.loads((own / "settings.json").read_text()) == {"enable_update_check": False}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (said.PRECONDITION, NoCapacity),
        (said.ACCELERATOR, BalanceEmpty),
        (said.outcome(2), BalanceEmpty),
        (said.http("Service Unavailable"), NoCapacity),
    ],
)
def test_a_refused_session_leaves_nothing(place: Place, text: str, error: type[Exception]) -> None:
    place.answer("new", 1, text)
    with pytest.raises(error):
        place.begin()
    assert not place.attempt.exists()
    assert place.endpoints == []


@pytest.mark.parametrize(
    ("there", "lists", "error", "word"),
    [
        ([], True, ProviderError, "no session from it"),
        (["gpu-t4-s-9"], True, UnknownOutcome, "gpu-t4-s-9"),
        ([], False, UnknownOutcome, "cannot be listed"),
    ],
)
def test_an_order_without_an_answer_is_looked_up(
    place: Place, there: list[str], lists: bool, error: type[Exception], word: str
) -> None:
    place.lose(*there)
    place.answer("new", 1, said.TIMED_OUT)
    if not lists:
        place.answer("sessions", 0, said.NONE)  # as with a login that has run out
    with pytest.raises(error) as raised:
        place.begin()
    assert type(raised.value) is error
    assert word in str(raised.value)
    assert place.endpoints == there, "only what is ours is ended"


def test_a_session_that_cannot_be_set_up_is_ended(place: Place) -> None:
    place.answer("upload", 1, said.DOWNLOAD_FAILED)
    with pytest.raises(ProviderError, match="could not send a file") as raised:
        place.begin()
    assert "planted" not in str(raised.value)
    assert place.endpoints == []
    assert place.secrets() == []
    assert not place.attempt.exists()


def test_a_cell_that_does_not_begin_is_an_error(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch ends its session at once: nobody waits for the time that a cell has."""
    monkeypatch.setattr(provider, "BEGIN", float("inf"))
    lost = "[colab] Session 'x' appears to be lost (404/401). Cleaning up."
    place.answer("exec", 1, lost, asker="watch")
    with pytest.raises(ProviderError, match=r"ran nothing \(Session 'x' appears to be lost"):
        unless_it_hangs(place.begin)
    assert place.endpoints == []
    assert not place.attempt.exists()


def test_a_connection_that_hangs_before_the_cell_begins_is_an_error(place: Place) -> None:
    (place.folder / "cli" / "hangs").touch()
    place.provider._clock = _quick()
    with pytest.raises(ProviderError, match="ran nothing"):
        place.begin()
    assert place.endpoints == []
    assert not place.attempt.exists()
    assert place.running() == []


def test_the_patience_with_a_kernel_is_the_users_to_set(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUEST_TIMEOUT", "7")
    place.provider.checks()
    assert {call["environ"]["REQUEST_TIMEOUT"] for call in place.asked()} == {"7"}


def test_a_launcher_interrupted_before_the_watch_wrote_down_what_it_began(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.folder / "cli" / "hangs").touch()
    seen: list[list[str]] = []
    drop = place.provider._drop

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    def look(folder: Path) -> None:
        seen.append(place.running())
        drop(folder)

    monkeypatch.setattr(place.provider, "_sleep", interrupted)
    monkeypatch.setattr(place.provider, "_drop", look)
    with pytest.raises(KeyboardInterrupt):
        place.begin()
    assert seen == [[]], "what works for a session has ended before the session and its folder"
    assert not place.attempt.exists()


def _quick() -> Callable[[], float]:
    """A clock by which each look takes twenty seconds."""
    passed = iter(range(10**9, 10**9 + 10**6, 20))
    return lambda: float(next(passed))


@pytest.mark.parametrize(
    ("code", "text"), [(1, said.NO_LOGIN), (0, said.NONE), (1, said.UNREACHED)]
)
def test_only_a_list_says_that_a_session_is_gone(place: Place, code: int, text: str) -> None:
    record = of("gpu-t4-s-1")
    place.answer("sessions", code, text)
    assert place.provider.alive(record) is None


def test_a_session_that_one_list_lacks_is_looked_at_again(place: Place) -> None:
    place.lose("gpu-t4-s-1")
    place.answer("sessions", 0, said.STRUCK + said.NONE)
    record = of("gpu-t4-s-1")
    assert place.provider.alive(record) is True


def test_a_session_that_was_just_seen_is_not_asked_for_again(place: Place) -> None:
    now = [1e9]
    place.provider._clock = lambda: now[0]
    place.lose("gpu-t4-s-1")
    record = of("gpu-t4-s-1")
    assert place.provider.alive(record) is True
    place.lose()
    now[0] += provider.FRESH - 1
    assert place.provider.alive(record) is True
    assert len(place.asked()) == 1, "a look is a process of a second, and a request to Colab"
    now[0] += 2
    assert place.provider.alive(record) is False
    assert place.provider.alive(record) is False, "only what was there is taken for granted"


def test_from_another_computer(place: Place) -> None:
    made = place.begin()
    details = {**made.details, "folder": "/nowhere"}
    record = replace(made, host="elsewhere", details=details)
    assert place.provider.alive(record) is True
    wait_for(lambda: place.provider.output(record, 3) == ["it works"], "its output")
    place.provider.end(SPEC, record)
    assert place.endpoints == []
    assert place.provider.alive(record) is None, "this may be another account"
    with pytest.raises(NotGone, match="elsewhere"):
        place.provider.end(SPEC, record)


def test_another_session_than_the_one_that_was_made_here_is_not_ended(place: Place) -> None:
    record = place.begin()
    forged = replace(record, details={**record.details, "endpoint": "gpu-t4-of-another"})
    with pytest.raises(NotGone, match=r"gpu-t4-of-another.*gpu-t4-s-1"):
        place.provider.end(SPEC, forged)
    assert place.endpoints == ["gpu-t4-s-1"]
    place.provider.end(SPEC, record)


def test_a_session_that_stays_is_said(place: Place) -> None:
    record = place.begin()
    place.answer_always("stop", 0, "[colab] Session 'x' not found.")
    place.provider._clock = _quick()
    with pytest.raises(NotGone, match="Manage sessions"):
        place.provider.end(SPEC, record)
    assert place.endpoints == ["gpu-t4-s-1"]


def test_a_launcher_that_died_after_its_order_is_found_again(place: Place) -> None:
    spec = AttemptSpec("s3://runs/x?endpoint=http://127.0.0.1:1", "run", 1)
    folder = colab_folder.of(spec)
    assert place.provider.adopt(spec) is None
    cli = Cli(os.environ)
    cli.furnish(folder / "home", NAME)
    cli.ask(folder / "home", "new", "--session", NAME)  # and no more
    found = place.provider.adopt(spec)
    assert found is not None
    assert place.provider.alive(found) is True
    later = folder.with_name("mimir-run-a0002")
    job = {"command": [sys.executable, "-c", WAITS], "env": {}}
    record = place.provider.begin(later, later.name, "", job)
    assert place.endpoints == [record.detail("endpoint")], (
        "an older attempt's session is ended first"
    )
    assert not folder.exists()
    assert place.provider.adopt(spec) is None


def test_nobody_waits_for_the_last_checkpoint_of_a_cell_that_never_began(place: Place) -> None:
    spec = AttemptSpec("s3://runs/x?endpoint=http://127.0.0.1:1", "run", 1)
    home = colab_folder.of(spec) / "home"
    cli = Cli(os.environ)
    cli.furnish(home, NAME)
    cli.ask(home, "new", "--session", NAME)
    found = place.provider.adopt(spec)
    assert found is not None
    place.provider.end(spec, found)
    assert place.endpoints == []
    assert "upload" not in [call["words"][2] for call in place.asked()]


def test_what_a_killed_launcher_left_is_swept(place: Place) -> None:
    old, new = place.root / "home-old", place.attempt.with_name("home-new")
    for path in (old, new):
        path.mkdir(parents=True)
    os.utime(old, (1e9, 1e9))
    record = place.begin()
    assert not old.exists()
    assert new.exists(), "a command may be using it"
    place.provider.end(SPEC, record)


@pytest.mark.parametrize("name", ["h200", "V100", "RTX 4090", "T5", ""])
def test_a_gpu_that_colab_has_not_is_refused_before_any_call(
    place: Place, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("MIMIR_COLAB_GPU", name)
    with pytest.raises(BadInput, match="Colab has no GPU"):
        place.provider.start(AttemptSpec("s3://runs/x", "run", 1))
    assert place.asked() == []


def test_the_names_of_gpus() -> None:
    names = [accelerator(name) for name in ("t4", "Tesla T4", "A100", "H100", "L4", "G4", "cpu")]
    assert names == ["T4", "T4", "A100", "H100", "L4", "G4", ""]
    assert offer("a100").gpu == "A100 40GB"
    assert [each.id for each in offers(("T4", "H100 SXM"))] == ["colab-t4", "colab-h100"]
    assert all(accelerator(each.gpu) or each.gpu == "cpu" for each in offers())


def test_what_an_order_must_have(place: Place) -> None:
    with pytest.raises(BadInput, match="S3 bucket"):
        place.provider.start(AttemptSpec("file:///runs", "run", 1))
    with pytest.raises(BadInput, match="no keys"):
        place.provider.start(AttemptSpec("s3://runs/x", "run", 1))
    assert place.asked() == []


def test_a_cli_that_is_missing_or_too_old(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.answer("version", 0, "Version: 0.6.0")
    with pytest.raises(BadInput, match=r"0\.6\.0.*>=0\.7\.4,<0\.8"):
        place.begin()
    monkeypatch.setenv("COLAB_CLI_PATH", "/nowhere/colab")
    with pytest.raises(BadInput, match=r"/nowhere/colab, which is not there.*Python 3\.12"):
        place.begin()
    monkeypatch.delenv("COLAB_CLI_PATH")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BadInput, match="Google's CLI for Colab is not there"):
        place.begin()
    assert not place.attempt.exists()


def test_what_doctor_is_told(place: Place) -> None:
    assert [(c.status, c.details) for c in place.provider.checks()] == [
        ("ok", "Current balance: 0.00 compute units, Usage rate: 0.00/hr")
    ]
    place.answer("usage", 1, said.NO_LOGIN)
    (check,) = place.provider.checks()
    assert check.status == "fail"
    assert "sign in once" in check.details
    assert not (place.root / "check").exists()


def test_the_registry_has_it_without_reading_it() -> None:
    assert "colab" in registry.names()
    caps = registry.get("colab").caps
    assert (caps.paid, caps.foreign, caps.max_sessions) == (False, True, 1)


def test_no_session_is_left_by_a_ctrl_c(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place.provider, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        place.begin()
    assert place.endpoints == []
    shutil.rmtree(place.root, ignore_errors=True)
