"""Google's own CLI, unchanged, against fake servers whose machines are real Jupyter servers.

What this does not show is listed in docs/colab.md.
"""

import contextlib
import os
import platform
import re
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from launch.contract.errors import AuthFailed, BalanceEmpty, NoCapacity, ProviderError, RateLimited
from launch.contract.provider import AttemptSpec
from launch.providers.colab import folder as colab_folder
from launch.providers.colab import provider
from launch.providers.colab.watch import _running
from mimir.runs.machine import Machine as Record
from mimir.runs.status import read_head
from mimir.runs.store import open_store
from tests.colab.conftest import FAILED, KEYS, RUNTIME, Account
from tests.colab.machine import Machine
from tests.colab.servers import BEARER
from tests.e2e import jobs
from tests.waiting import unless_it_hangs, wait_for

LOOPS = (
    "import os,signal,sys,time;signal.signal(15,lambda *_:sys.exit(75));"
    "print('it works',flush=True)\nwhile not os.path.exists('enough'): time.sleep(.1)"
)
SETTINGS = {
    **jobs.TINY, "device": "cpu", "epochs": 100_000, "max_steps": 400, "eval_every": 200,
    "checkpoint_steps": 20,
}  # fmt: skip
LIMITS = {1: ("before", "/HEAD"), 2: ("after", "/HEAD"), 3: ("before", ".safetensors")}
"""Session -> the moment at which its machine dies, with its worker's second checkpoint (the first
may be that of step 0): a commit that was not carried out, one that was and was not answered, a
checkpoint on its way."""


@pytest.fixture(autouse=True)
def nothing_left(account: Account, request: pytest.FixtureRequest) -> Iterator[None]:
    """At the end of each: no session, no secret on any disk, and nobody else was contacted."""
    yield
    if request.node.stash.get(FAILED, False):
        return  # it stopped in the middle: what it left is no finding, nor worth waiting for
    wait_for(lambda: not list(account.state.glob("*/mimir-*/")), "the watch to clear up")
    assert account.colab.machines == {}, "a session is alive"
    assert account.colab.denied == [], "somebody else than Colab was contacted"
    assert secrets(account) == []


def secrets(account: Account) -> list[str]:
    """Files with a key or a token in them, but for the login itself and the fake's own."""
    planted = [*KEYS.values(), BEARER, "planted-refresh-token", "planted-client-secret"]
    for machine in tuple(account.colab.machines.values()):
        account.colab.tokens.update(machine.tokens())
    given = account.bucket.secrets | account.colab.tokens
    words = [word.encode() for word in (*planted, *given)]
    found = []
    # Files come and go meanwhile: the CLI's homes.
    for folder, _, names in os.walk(account.folder):
        for path in (Path(folder) / name for name in names):
            if path.is_symlink() or path.name == "token.json" or path.suffix == ".tokens":
                continue
            with contextlib.suppress(FileNotFoundError):
                content = path.read_bytes()
                if path.parent == account.colab.folder:  # Colab's own log, with its own tokens
                    content = re.sub(rb"rpt-\w+", b"", content)
                found += [f"{path}: {word.decode()}" for word in words if word in content]
    return found


SPEC = AttemptSpec("s3://runs/of-this-test", "job", 1)


def begin(account: Account, name: str = "mimir-job-a0001") -> Record:
    """A session with a job that waits to be asked to end, or for a file `enough`."""
    job = {"command": [sys.executable, "-c", LOOPS], "env": KEYS}
    return account.provider.begin(colab_folder.of(SPEC).with_name(name), name, "", job)


def works(account: Account, record: Record) -> Callable[[], bool]:
    return lambda: account.provider.output(record, 3) == ["it works"]


class Limits:
    """Ends each session at its moment, and looks before whether keys lie about."""

    def __init__(self, account: Account) -> None:
        self.account, self.on_disk, self.ended = account, list[str](), list[str]()
        self._sent: dict[str, int] = {}
        account.bucket.before = lambda method, path: self._told("before", method, path)
        account.bucket.after = lambda method, path: self._told("after", method, path)

    def _told(self, when: str, method: str, path: str) -> None:
        colab = self.account.colab
        if method != "PUT" or not colab.machines:
            return
        (endpoint,) = colab.machines
        if when == "before" and path.endswith(".safetensors"):
            self._sent[endpoint] = self._sent.get(endpoint, 0) + 1
        its_when, its_what = LIMITS.get(len(colab.made), ("", ""))
        if when == its_when and path.endswith(its_what) and self._sent.get(endpoint) == 2:
            # The token of the connection lies in the CLI's home, which only its owner reads.
            self.on_disk += [line for line in secrets(self.account) if "rpt-" not in line]
            self.ended.append(endpoint)
            colab.kill(endpoint)


def submission(data: Path, *words: str) -> tuple[str, ...]:
    options = [w for k, v in SETTINGS.items() for w in (f"--{k.replace('_', '-')}", str(v))]
    return (
        "submit", "run", "--preset", "smoke", "--provider", "colab", "--data", str(data), *options,
        "--role", "arn:aws:iam::123456789012:role/mimir", *words,
    )  # fmt: skip


def test_a_run_through_three_session_limits(account: Account, tmp_path: Path) -> None:
    data = jobs.write_data(tmp_path / "data.csv", 150)
    calm = open_store((tmp_path / "calm").as_uri())
    jobs.submit(calm, "run", data, **SETTINGS)
    assert jobs.train(calm, "run")[0]
    limits = Limits(account)
    command = account.launch(*submission(data, "--watch", "--max-sessions", "4"))
    assert command.wait() == 0, command.said
    assert limits.ended == account.colab.made[:3], "each session died at its moment"
    assert len(account.colab.made) == 4
    assert limits.on_disk == [], "keys are in the worker's memory alone"
    assert read_head(account.store, "run").state == "done"
    assert jobs.model_sha256(account.store, "run") == jobs.model_sha256(calm, "run")


def test_a_kernel_that_comes_up_late_and_a_machine_that_dies(account: Account) -> None:
    account.colab.boot = 12.0  # the CLI by itself gives up after ten
    record = begin(account)
    wait_for(works(account, record), "the worker's first line")
    account.colab.kill(record.detail("endpoint"))
    wait_for(lambda: not colab_folder.of(SPEC).exists(), "the watch to see that it is gone")
    assert account.provider.alive(record) is False


def test_a_cell_that_cannot_begin_costs_no_minutes(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUEST_TIMEOUT", "2")
    monkeypatch.setattr(provider, "BEGIN", float("inf"))
    account.colab.boot = 15.0  # so long the CLI's connection stays, although it has given up
    with pytest.raises(ProviderError, match="ran nothing"):
        unless_it_hangs(lambda: begin(account))
    assert account.colab.machines == {}


def test_stopped_while_busy_from_another_computer(account: Account) -> None:
    record = begin(account)
    wait_for(works(account, record), "the worker's first line")
    details = {**record.details, "folder": "/nowhere"}
    elsewhere = replace(record, host="elsewhere", details=details)
    assert account.provider.alive(elsewhere) is True
    account.provider.end(SPEC, elsewhere)
    assert account.colab.exits == {record.detail("endpoint"): "75"}, "it was asked, and let end"
    assert account.provider.alive(record) is False
    account.provider.end(SPEC, record)


def test_a_token_that_expires_in_the_middle(account: Account) -> None:
    account.colab.ttl = 60.0  # the CLI asks for another one when less than five minutes are left
    account.provider._every = 600.0
    record = begin(account)
    machine = account.colab.machines[record.detail("endpoint")]
    wait_for(works(account, record), "the worker's first line")
    machine.expire()
    assert account.provider.output(record, 3) == ["it works"]
    machine.expire()
    assert account.provider.alive(record) is True
    account.provider.end(SPEC, record)
    assert account.colab.exits == {record.detail("endpoint"): "75"}


def test_the_watch_and_its_connection_are_killed(account: Account) -> None:
    record = begin(account)
    folder = colab_folder.of(SPEC)
    both = _running(folder)
    assert len(both) == 2
    for number in both:
        os.kill(number, signal.SIGKILL)
    wait_for(lambda: not _running(folder), "both to die")
    assert account.provider.alive(record) is True
    wait_for(works(account, record), "the worker's first line")
    (account.colab.machines[record.detail("endpoint")].disk / "content" / "enough").touch()
    # Nobody is there to end the session: the cell gives its machine back.
    wait_for(lambda: not account.colab.machines, "the cell to give its machine back")
    assert account.colab.exits == {record.detail("endpoint"): "0"}
    account.provider.end(SPEC, record)


def test_a_launcher_that_died_after_its_order(account: Account) -> None:
    spec = AttemptSpec(account.store.url, "run", 1)
    home = colab_folder.of(spec) / "home"
    cli = account.provider._cli
    cli.furnish(home, "mimir-run-a0001")
    assert cli.ask(home, "new", "--session", "mimir-run-a0001").code == 0
    found = account.provider.adopt(spec)
    assert found is not None
    assert found.detail("endpoint") in account.colab.machines
    account.provider.end(spec, found)


def test_a_machine_that_dies_takes_none_of_its_name_with_it(account: Account) -> None:
    """Tests run beside one another, and the first machine of each has the same endpoint."""
    one, other = (
        Machine("cpu-s-1", Path(RUNTIME), account.folder / "colab" / name, "127.0.0.1:1")
        for name in ("one", "other")
    )
    one.kill()
    assert not one.up()
    assert other.up()
    other.kill()


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
    account.provider.end(SPEC, record)


def test_no_login(account: Account) -> None:
    (account.folder / "home" / ".config" / "colab-cli" / "token.json").unlink()
    with pytest.raises(AuthFailed, match="sign in once"):
        begin(account)
    assert (
        account.provider.alive(
            Record("colab", 1.0, host=platform.node(), details={"endpoint": "x"})
        )
        is None
    )
