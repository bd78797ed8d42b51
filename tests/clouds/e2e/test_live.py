"""`make live` against fakes: nothing is left alive, whatever happens, and no secret is written."""

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from launch.contract.cloud import parse_name
from launch.contract.redaction import Secrets
from launch.providers import registry
from mimir import cli
from mimir.errors import MimirError
from scripts import live
from scripts.transcript import secrets_here
from tests import ROOT
from tests.clouds.e2e.world import CREATE, KEY, KEYS, SETTINGS, UNHURRIED, World
from tests.waiting import LIMIT

HURRIED = """
import os, sys
if sys.argv[1] in ("submit", "watch", "stop"):
    from tests.clouds.e2e import door
    door.hurry(os.environ)
from launch.commands import SUMMARY, TREE
from mimir import cli
cli.main("python -m launch", SUMMARY, TREE)
"""
SCRIPT = """
import pathlib, sys
from launch.contract import deadlines
from mimir import cli
from scripts import live
live.LAUNCH = (sys.executable, "-c", sys.argv.pop(1))
live.ROOT = pathlib.Path(sys.argv.pop(1))
live.PAUSE, deadlines.LISTED_WITHIN = 0.1, 3.0
cli.run("make live", live.live)
"""
"""The script as it is, but for where it writes; its launchers are in a hurry."""
STOP_WAITS = json.dumps({"launch.commands.stop:STOP_WAITS": 2.0, **json.loads(UNHURRIED)})
SECRETS = (KEY, *KEYS.values(), "hooks-of-mine")


def began(world: World, **env: str) -> "subprocess.Popen[str]":
    words = [f"--provider={world.provider}"]
    words += [f"--options={shlex.join(['--data', str(world.data), *SETTINGS])}"]
    notify = {"MIMIR_NOTIFY": "http://127.0.0.1:9/hooks-of-mine", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, HURRIED, str(world.folder), *words], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**world.env, **notify, **env},
    )  # fmt: skip


def transcript(world: World) -> str:
    (path,) = (world.folder / "build" / "live").glob(f"{world.provider}-*.txt")
    told = path.read_text()
    assert [secret for secret in SECRETS if secret in told] == []
    return told


def step(world: World) -> int:
    place = parse_name(world.fake.ledger[-1].name) if world.fake.ledger else None
    return world.step(place[0]) if place else -1


@pytest.mark.parametrize(
    "provider",
    ["runpod", *(pytest.param(name, marks=pytest.mark.long) for name in ("aws", "gcp"))],
)
def test_a_whole_run(provider: str, make: Callable[[str], World]) -> None:
    world = make(provider)
    process = began(world, PATCHES=UNHURRIED)
    said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, said
    assert f"is left; see for yourself: {live.CONSOLES[provider]}" in transcript(world)
    assert len(list((world.folder / "build" / "live").glob("*/model.safetensors"))) == 1
    assert len(world.fake.ledger) == 1
    world.settled(0.5)


@pytest.mark.parametrize(
    ("provider", "fault", "by"),
    [
        ("runpod", "stuck", signal.SIGINT),
        pytest.param("runpod", "error_after", signal.SIGINT, marks=pytest.mark.long),
        pytest.param("lambda", "", signal.SIGTERM, marks=pytest.mark.long),
        pytest.param("vastai", "", signal.SIGHUP, marks=pytest.mark.long),
        pytest.param("aws", "", signal.SIGINT, marks=pytest.mark.long),
        pytest.param("gcp", "stuck", signal.SIGTERM, marks=pytest.mark.long),
    ],
)
def test_it_is_interrupted(
    provider: str, fault: str, by: signal.Signals, make: Callable[[str], World]
) -> None:
    """While its machine is ordered, comes up, or trains. To ask twice does no harm."""
    world = make(provider)
    world.steps, world.pace = 100_000, 0.1
    if fault:
        world.fake.fault(fault, **(CREATE[provider] if fault == "error_after" else {}))
    process = began(world, PATCHES=STOP_WAITS)
    world.until(lambda: world.fake.alive() if fault else step(world) > 0)
    for _ in range(2):
        process.send_signal(by)
    said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, said
    assert "is left; see for yourself" in transcript(world)
    assert len(world.fake.ledger) == 1
    world.settled(0.5)


@pytest.mark.parametrize(
    ("provider", "variable", "shown"),
    [
        ("runpod", "RUNPOD_API_KEY", False),
        ("aws", "MIMIR_AWS_PROFILE", True),
        ("gcp", "MIMIR_GCP_PROJECT", True),
    ],
)
def test_a_profile_and_a_project_are_no_secrets(
    provider: str, variable: str, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv(variable, "some-words-of-mine")
    registry.get.cache_clear()
    secrets = secrets_here(registry.get(provider))
    assert ("some-words-of-mine" in secrets.clean("of some-words-of-mine/us-1")) is shown


@pytest.mark.parametrize("problem", ["", "the list fails"])
def test_a_machine_that_stays_is_said(
    problem: str, runpod: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of the list is no empty list; and without a stop on record nobody may watch."""
    asked: list[str] = []

    def left(_: live.Live) -> list[str]:
        if problem:
            raise MimirError(problem)
        return ["the-id"]

    def launch(_: live.Live, *words: str, heard: bool = False) -> int:
        asked.append(words[0])
        return 78 if words[0] in ("submit", "stop") else 0

    monkeypatch.setattr(live.Live, "_left", left)
    monkeypatch.setattr(live.Live, "_launch", launch)
    monkeypatch.setattr(live.Live, "_known", lambda _: True)
    monkeypatch.setattr(live, "PAUSE", 0.0)
    out = live.Transcript(runpod.folder / "out.txt", Secrets())
    assert live.Live("runpod", runpod.store, (), out, Secrets()).whole() == 75
    out.close()
    assert (
        "A MACHINE MAY BE LEFT" if problem else "MACHINE the-id IS LEFT"
    ) in out.path.read_text()
    assert asked.count("stop") == live.ROUNDS
    assert asked.count("reap") == (0 if problem else live.ROUNDS)
    assert "watch" not in asked


@pytest.mark.parametrize(
    ("words", "env", "sentence"),
    [
        (["--provider="], {}, "--provider is ''"),
        (["--provider=runpot"], {}, "did you mean 'runpod'"),
        (["--provider=runpod"], {"MIMIR_STORE": ""}, "reaches a bucket only"),
        (["--provider=runpod"], {"RUNPOD_API_KEY": ""}, "export RUNPOD_API_KEY="),
        (["--provider=runpod"], {"RUNPOD_API_KEY": "wrong-key"}, "runpod key"),
        (["--provider=aws"], {}, "export MIMIR_AWS_PROFILE="),
        (["--provider=gcp"], {}, "export MIMIR_GCP_PROJECT="),
        (["--provider=runpod", "--options=--max_cost=9"], {}, "leave it out"),
        (["--provider=runpod", "--options=--no-watch"], {}, "leave it out"),
        (["--provider=runpod", "--options='"], {}, "cannot be read"),
        (["--provider=colab"], {}, "colab"),
    ],
)
def test_bad_input_orders_nothing(
    words: list[str], env: dict[str, str], sentence: str, runpod: World,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name, value in {**runpod.env, **env}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(live, "ROOT", runpod.folder)
    with pytest.raises(SystemExit) as ended:
        cli.run("make live", live.live, words)
    said = capsys.readouterr().err
    assert ended.value.code == 78, said
    assert said.count("\n") == 1
    assert sentence in said
    assert "wrong-key" not in said
    assert runpod.fake.ledger == []
    assert not (runpod.folder / "build").exists()
