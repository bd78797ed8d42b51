"""The API: what each function gives, by the same code as the command of its name."""

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launch import api
from launch.commands import TREE
from launch.commands import logs as logs_command
from launch.commands import runs as runs_command
from launch.commands import status as status_command
from launch.commands import stop as stop_command
from mimir import api as model_api
from mimir import cli, commands
from mimir.errors import BadInput, Interrupted
from mimir.output import commands as output
from mimir.runs.status import Status
from mimir.runs.store import Store
from tests import ROOT
from tests.launch.report.made import STEPS, begun, train
from tests.waiting import LIMIT

OWN = {"metrics", "wait"}
"""Functions that no command is named like."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return train(begun(tmp_path))


def test_it_has_a_dozen_functions_each_with_types_and_words() -> None:
    assert 12 <= len(api.__all__) + len(model_api.__all__) <= 16
    assert set(api.__all__) - OWN <= set(TREE)
    assert set(model_api.__all__) <= set(commands.TREE)
    for module in (api, model_api):
        for name in module.__all__:
            function = getattr(module, name)
            signature = inspect.signature(function)
            assert inspect.getdoc(function), name
            assert signature.return_annotation is not signature.empty, name
            assert all(p.annotation is not p.empty for p in signature.parameters.values()), name


@pytest.mark.parametrize("name", sorted({*api.__all__, *model_api.__all__} - OWN))
def test_its_options_are_those_of_the_command(name: str) -> None:
    function = getattr(api, name, None) or getattr(model_api, name)
    command = cli.loaded({**commands.TREE, **TREE}[name])
    assert callable(command)
    own = inspect.signature(function).parameters
    theirs = inspect.signature(command).parameters
    for parameter in own.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            assert parameter.name in theirs
            # The API has no default for what a command asks for in its own words.
            assert parameter.default in (theirs[parameter.name].default, parameter.empty)


def test_what_it_gives_of_a_run(store: Store, tmp_path: Path) -> None:
    url = store.url
    found = api.status("run", store=url)
    assert (found.state, found.step, found.attempt) == ("running", STEPS, 2)
    assert [row.listed.run for row in api.runs(store=url)] == ["run"]
    assert api.runs(state="done", store=url) == []
    rows = api.metrics("run", store=url)
    assert rows[-1]["step"] == STEPS
    assert "".join(api.logs("run", store=url)) == "".join(api.logs("run", attempt=2, store=url))
    assert b"<html" in api.report("run", store=url)
    with pytest.raises(Interrupted, match="run run is running after 0 s"):
        api.wait("run", timeout=0, store=url)
    with pytest.raises(BadInput, match="there is no run nothing"):
        api.status("nothing", store=url)
    with pytest.raises(BadInput, match="has no attempt 7"):
        list(api.logs("run", attempt=7, store=url))


def test_command_and_function_call_the_same(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def same(name: str) -> Any:
        def refuse(*args: object, **more: object) -> None:
            called.append(name)
            raise BadInput(name)

        return refuse

    pairs = {
        "read status": (status_command, "read", lambda: api.status("run", store=store.url),
                        lambda: status_command.status("run", store=store.url)),
        "find": (runs_command, "find", lambda: api.runs(store=store.url),
                 lambda: runs_command.runs(store=store.url)),
        "read log": (logs_command, "read", lambda: list(api.logs("run", store=store.url)),
                     lambda: logs_command.logs("run", store=store.url)),
        "request": (stop_command, "request", lambda: api.stop("run", store=store.url),
                    lambda: stop_command.stop("run", store=store.url)),
        "measured": (output, "measured", lambda: model_api.evaluate(run="run"),
                     lambda: output.evaluate(run="run")),
    }  # fmt: skip
    for name, (module, function, *both) in pairs.items():
        for call in both:
            with monkeypatch.context() as patched:
                patched.setattr(module, function, same(name))
                with pytest.raises(BadInput, match=name):
                    call()
    assert called == [name for name in pairs for _ in range(2)]


@pytest.mark.parametrize(("code", "error"), [(0, None), (75, Interrupted), (78, BadInput)])
def test_a_submit_tells_on_standard_error_and_gives_the_status(
    code: int, error: type[Exception] | None, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given: dict[str, Any] = {}

    def submit(name: str, preset: str = "", **options: Any) -> int:
        given.update(options, preset=preset)
        print("next commands")
        return code

    monkeypatch.setattr("launch.commands.submit.submit", submit)
    monkeypatch.setattr("launch.commands.resume.resume", lambda name, **more: submit(name, **more))
    monkeypatch.setattr(api, "status", lambda name, store: Status)
    for call in (lambda: api.submit("smoke", name="x", max_hours=2), lambda: api.resume("x")):
        if error is None:
            assert call() is Status
        else:
            with pytest.raises(error, match="run x did not begin"):
                call()
    assert given["max_hours"] == 2
    assert given["yes"] is False
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "next commands\n" * 2)


def test_a_dry_run_is_the_commands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.commands.submit.submit", lambda *words, **more: 0)
    monkeypatch.setattr(api, "status", lambda name, store: Status)
    with pytest.raises(BadInput, match="dry_run makes no run"):
        api.submit("smoke", dry_run=True)
    assert api.submit("smoke", dry_run=False) is Status


def test_its_import_is_light() -> None:
    code = (
        "import sys, launch.api, mimir.api\n"
        "assert not {'torch', 'numpy', 'boto3', 'httpx', 'yaml'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 0, done.stderr
