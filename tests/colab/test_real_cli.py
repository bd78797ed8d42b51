"""Google's own CLI, unchanged, against fake servers whose machines are real Jupyter servers.

What this does not show is listed in docs/colab.md.
"""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.errors import AuthFailed, BalanceEmpty, NoCapacity, RateLimited
from launch.providers.base import AttemptSpec
from launch.providers.colab import _folder
from launch.providers.colab_watch import _running
from mimir.runs import notes
from mimir.runs.store import open_store
from tests.colab.conftest import KEYS, Account
from tests.colab.servers import BEARER
from tests.e2e import jobs

STEPS = 1500
LOOPS = (
    "import os,signal,sys,time;signal.signal(15,lambda *_:sys.exit(75));"
    "print('it works',flush=True)\nwhile not os.path.exists('enough'): time.sleep(.1)"
)


@pytest.fixture(autouse=True)
def nothing_left(account: Account) -> Iterator[None]:
    """At the end of each: no session, no secret on any disk, and nobody else was contacted."""
    yield
    account.until(lambda: not list(account.state.glob("*/mimir-*/")))
    assert account.colab.machines == {}, "a session is alive"
    assert account.colab.denied == [], "somebody else than Colab was contacted"
    assert secrets(account) == []


def secrets(account: Account) -> list[str]:
    """Files with a key or a token in them, but for the login itself and the fake's own."""
    planted = [*KEYS.values(), BEARER, "planted-refresh-token", "planted-client-secret"]
    for machine in account.colab.machines.values():
        account.colab.tokens.update(machine.tokens())
    words = [word.encode() for word in (*planted, *account.colab.tokens)]
    found = []
    for path in account.folder.rglob("*"):
        if path.is_symlink() or not path.is_file() or path.name == "token.json":
            continue
        if path.suffix == ".tokens":
            continue
        content = path.read_bytes()
        if path.parent == account.colab.folder:  # a log of Colab's own side, with its own tokens
            content = re.sub(rb"rpt-\w+", b"", content)
        found += [f"{path}: {word.decode()}" for word in words if word in content]
    return found


def begin(account: Account, name: str = "mimir-job-a0001") -> dict[str, Any]:
    """A session with a job that waits to be asked to end, or for a file `enough`."""
    job = {"command": [sys.executable, "-c", LOOPS], "env": KEYS}
    return account.provider.begin(account.state / "store" / name, name, "", job)


def works(account: Account, record: dict[str, Any]) -> Callable[[], bool]:
    return lambda: account.provider.output(record, 3) == ["it works"]


def test_a_run_through_three_session_limits(account: Account, tmp_path: Path) -> None:
    data = jobs.write_data(tmp_path / "data.csv", 150)
    calm = open_store((tmp_path / "calm").as_uri())
    settings = {"epochs": 100_000, "checkpoint_steps": 5, "eval_every": 500, "max_steps": STEPS}
    for store in (account.store, calm):
        jobs.submit(store, "run", data, **settings)
    assert jobs.train(calm, "run")[0]
    on_disk: list[str] = []
    for _ in range(3):
        before = account.step("run")
        record = account.order("run")
        account.until(lambda: account.step("run") > before)  # noqa: B023
        # The token of the connection lies in the CLI's home, which only its owner reads.
        on_disk += [line for line in secrets(account) if "rpt-" not in line]
        account.colab.kill(record["endpoint"])
        assert account.step("run") < STEPS, "it ended before its session did"
        account.until(lambda: not Path(record["folder"]).exists())  # noqa: B023
        assert account.provider.alive(record) is False
    account.order("run")
    account.until(lambda: notes.read_outcome(account.store, "run", 4) is not None)
    outcome = notes.read_outcome(account.store, "run", 4)
    assert outcome is not None
    assert outcome.exit_code == 0, outcome
    assert on_disk == [], "keys are in the worker's memory alone"
    assert len(account.colab.made) == 4
    assert jobs.model_sha256(account.store, "run") == jobs.model_sha256(calm, "run")


def test_stopped_while_busy_from_another_computer(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = begin(account)
    account.until(works(account, record))
    elsewhere = {**record, "host": "elsewhere", "folder": "/nowhere"}
    assert account.provider.alive(elsewhere) is True
    account.provider.end(elsewhere)
    assert account.provider.alive(record) is False
    account.provider.end(record)


def test_a_token_that_expires_in_the_middle(account: Account) -> None:
    account.colab.ttl = 1.0  # each look gets a new one, which is old at the next
    account.provider._every = 600.0
    record = begin(account)
    time.sleep(1.5)
    assert account.provider.output(record, 3) == ["it works"]
    assert account.provider.alive(record) is True
    account.provider.end(record)


def test_the_watch_and_its_connection_are_killed(account: Account) -> None:
    record = begin(account)
    folder = Path(record["folder"])
    both = _running(folder)
    assert len(both) == 2
    for number in both:
        os.kill(number, signal.SIGKILL)
    account.until(lambda: not _running(folder))
    assert account.provider.alive(record) is True
    assert account.provider.output(record, 3) == ["it works"]
    (account.colab.machines[record["endpoint"]].disk / "content" / "enough").touch()
    # Nobody is there to end the session: the cell gives its machine back.
    account.until(lambda: not account.colab.machines)
    account.provider.end(record)


def test_a_launcher_that_died_after_its_order(account: Account) -> None:
    spec = AttemptSpec(account.store.url, "run", 1)
    home = _folder(spec) / "home"
    cli = account.provider._cli
    cli.furnish(home, "mimir-run-a0001")
    assert cli.ask(home, "new", "--session", "mimir-run-a0001").code == 0
    found = account.provider.adopt(spec)
    assert found is not None
    assert found["endpoint"] in account.colab.machines
    account.provider.end(found)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (412, "", NoCapacity),
        (400, "", BalanceEmpty),
        (503, "", NoCapacity),
        (429, "", RateLimited),
        (200, '{"outcome": 1}', BalanceEmpty),
        (200, '{"outcome": 2}', BalanceEmpty),
        (200, '{"outcome": 5}', AuthFailed),
    ],
)
def test_a_refusal(account: Account, status: int, body: str, error: type[Exception]) -> None:
    # 503: the CLI itself tries four times.
    account.colab.refusals = [(status, body)] * (4 if status == 503 else 1)
    with pytest.raises(error):
        account.provider.begin(account.state / "store" / "mimir-x-a0001", "mimir-x-a0001", "T4", {})
    assert account.colab.made == []


def test_capacity_that_comes_while_the_cli_tries(account: Account) -> None:
    account.colab.refusals = [(503, "")]
    record = begin(account)
    assert len(account.colab.made) == 1
    account.provider.end(record)


def test_no_login(account: Account) -> None:
    (account.folder / "home" / ".config" / "colab-cli" / "token.json").unlink()
    with pytest.raises(AuthFailed, match="sign in once"):
        begin(account)
    assert account.provider.alive({"host": os.uname().nodename, "endpoint": "x"}) is None
