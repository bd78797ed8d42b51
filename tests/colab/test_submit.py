"""The launcher's commands with a `colab` that answers as recorded, and no server but the bucket."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mimir.runs import notes
from mimir.runs.commit import Attempt
from mimir.runs.status import read_head
from mimir.runs.store import Store, open_store
from tests.clouds.e2e.world import Command, Forks
from tests.colab import said
from tests.colab.bucket import Bucket
from tests.colab.computer import Place
from tests.colab.conftest import KEYS, launched
from tests.e2e import jobs
from tests.waiting import wait_for

VARIABLES = {**KEYS, "AWS_EC2_METADATA_DISABLED": "true"}
ROLE = ("--role", "arn:aws:iam::123456789012:role/mimir")
Launch = Callable[..., Command]


@pytest.fixture
def store(server: Bucket, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    for variable, value in VARIABLES.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
    name = "".join(c for c in request.node.name if c.isalnum())
    return open_store(f"s3://runs/{name}?endpoint={server.url}&region=us-east-1")


@pytest.fixture
def launch(place: Place, store: Store, forks: Forks) -> Iterator[Launch]:
    """Runs a command; `submit` gets what is needed to submit to Colab."""
    given = (*VARIABLES, "AWS_ENDPOINT_URL_STS", "XDG_STATE_HOME", "COLAB_CLI_PATH")
    data = jobs.write_data(place.folder / "data.csv", 60)
    commands: list[Command] = []

    def run(*words: str) -> Command:
        if words[0] == "submit":
            words = ("submit", "run", "--preset", "smoke", "--provider", "colab", *ROLE, "--data",
                     str(data), *words[1:])  # fmt: skip
        out = place.folder / f"command{len(commands)}"
        commands.append(launched(forks, out, store, given, words))
        return commands[-1]

    yield run
    for command in commands:
        command.kill()


def made(place: Place) -> int:
    """Sessions that were ordered."""
    return sum(call["words"][2] == "new" for call in place.asked())


def lost(place: Place, store: Store, command: Command, attempt: int) -> None:
    """Colab ends the attempt's session, once its worker has claimed the run."""
    wait_for(lambda: notes.read_machine(store, "run", attempt) is not None, "its machine")
    Attempt.claim(store, "run", attempt)
    wait_for(lambda: f"attempt {attempt} has begun; Ctrl-C" in command.said, lambda: command.said)
    place.lose()


def test_sessions_are_not_chained_unasked(place: Place, store: Store, launch: Launch) -> None:
    (place.folder / "cli" / "idle").touch()
    command = launch("submit", "--watch")
    lost(place, store, command, 1)
    assert command.wait() == 75, command.said
    assert (
        "it has had its 1 machines (--max-sessions): go on by `python -m launch resume run`"
        in command.said
    )
    assert read_head(store, "run").state == "stopped"
    assert made(place) == 1
    again = launch("resume", "run", "--watch")  # the user's word for one more
    lost(place, store, again, 2)
    assert again.wait() == 75, again.said
    assert "it has had its 2 machines" in again.said
    assert made(place) == 2


def test_stop_commits_and_ends_the_session(
    place: Place, store: Store, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is the real one, in the cell, with this Python for the machine's."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    long = {**jobs.TINY, **jobs.ENDLESS, "device": "cpu"}
    options = [word for k, v in long.items() for word in (f"--{k.replace('_', '-')}", str(v))]
    submit = launch("submit", *options)
    assert submit.wait() == 0, submit.said
    wait_for(lambda: read_head(store, "run").step > 0, "a commit")
    stop = launch("stop", "run")
    assert stop.wait() == 0, stop.said
    assert "run run is stopped at step" in stop.said
    outcome = notes.read_outcome(store, "run", 1)
    assert outcome is not None
    assert (outcome.exit_code, outcome.cause) == (75, "stop")
    assert read_head(store, "run").step == outcome.step > 0
    wait_for(lambda: not place.endpoints and not list(place.root.glob("*/mimir-*/")), "the watch")


def test_a_machine_without_a_gpu_by_its_name(place: Place, store: Store, launch: Launch) -> None:
    (place.folder / "cli" / "idle").touch()
    command = launch("submit", "--gpu", "cpu", "--watch")
    lost(place, store, command, 1)
    assert command.wait() == 75, command.said
    (new,) = (call["words"] for call in place.asked() if call["words"][2] == "new")
    assert "--gpu" not in new


def test_a_refusal_is_one_sentence(place: Place, store: Store, launch: Launch) -> None:
    place.answer("new", 1, said.ACCELERATOR)
    command = launch("submit", "--gpu", "A100")
    assert command.wait() == 78
    assert command.said.splitlines()[-1].startswith(
        "python -m launch: Colab does not give this account a A100: it may need compute units"
    )
    assert "Traceback" not in command.said
    assert place.endpoints == []


def test_it_asks_and_shows_the_plan(place: Place, launch: Launch) -> None:
    place.answer_always("usage", 0, said.UNITS)
    command = launch("submit")
    assert command.wait() == 78
    assert "a machine of colab costs money: say --yes" in command.said
    assert "colab T4" in command.said
    assert "$0.200/h" in command.said
    assert "$0.50 over all attempts" in command.said, "the default limit of what is rented"
    assert "1083.40 compute units" in command.said
    command = launch("submit", "--max-cost", "0.001", "--yes")
    assert command.wait() == 78
    assert "the limits are too small for the forecast" in command.said
    command = launch("submit", "--max-price", "0.1", "--yes")
    assert command.wait() == 78
    assert "--max-price 0.1 is below the price of an hour" in command.said
    assert made(place) == 0


def test_its_sessions_have_a_deadline_and_a_bill(
    place: Place,
    store: Store,
    launch: Launch,
) -> None:
    place.answer_always("usage", 0, said.UNITS)
    command = launch("submit", "--max-cost", "1", "--yes")
    machine = wait_for(lambda: notes.read_machine(store, "run", 1), lambda: command.said)
    assert machine.price == 0.2
    order = notes.read_order(store, "run", 1)
    assert order is not None
    # $1 at $0.20/h are five hours, but for what is kept back for the last checkpoint.
    assert 4.8 * 3600 < order.deadline - order.time < 5 * 3600
    assert machine.deadline == order.deadline
