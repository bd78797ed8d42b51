"""A computer whose `colab` answers as recorded (stand_in.py), without any server."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from launch.contract.provider import AttemptSpec
from launch.providers.colab import folder as colab_folder
from launch.providers.colab import provider as colab
from launch.providers.colab import watch
from launch.providers.colab.cli import Cli
from launch.providers.colab.provider import ColabProvider
from mimir.runs.machine import Machine
from tests.colab import stand_in
from tests.waiting import LIMIT

SPEC = AttemptSpec("s3://runs/of-this-test", "run", 1)
NAME = "mimir-run-a0001"
SECRET = "planted-secret-key"
WAITS = (
    "import os,signal,sys,time;cell=os.getppid();signal.signal(15,lambda *_:sys.exit(75));"
    "print('it works',flush=True)\nwhile os.getppid()==cell!=1: time.sleep(.05)"
)
"""A worker that works until it is asked to end, or nobody is left who could ask (1: nobody was when
it began)."""


@dataclass
class Place:
    """One such computer, with a login."""

    folder: Path
    provider: ColabProvider
    environ: dict[str, str]

    @property
    def root(self) -> Path:
        return self.folder / "state" / "mimir" / "colab"

    @property
    def attempt(self) -> Path:
        return colab_folder.of(SPEC)

    def begin(self, code: str = WAITS, gpu: str = "T4", name: str = NAME) -> Machine:
        job = {"command": [sys.executable, "-c", code], "env": {"KEY": SECRET}}
        return self.provider.begin(self.attempt.with_name(name), name, gpu, job)

    @property
    def cli(self) -> Path:
        """Where the program is, with all that it knows."""
        return self.folder / "cli"

    def answer(self, command: str, code: int, text: str, asker: str = "launcher") -> None:
        """What the next such command of this asker says instead; see stand_in.py."""
        self._change("answers", lambda all: all.setdefault(f"{command} of {asker}", []).append(
            [code, text]))  # fmt: skip

    def answer_always(self, command: str, code: int, text: str) -> None:
        """What each such command says instead from now on, whoever asks."""
        self._change("always", lambda all: all.update({command: [code, text]}))

    def answer_nothing(self) -> None:
        """From now on, every command says what it says by itself."""
        for name in ("answers", "always"):
            self._change(name, lambda all: all.clear())

    def _change(self, name: str, change: Callable[[dict[str, Any]], object]) -> None:
        path = self.cli / f"{name}.json"
        with stand_in.locked(self.cli):
            answers = json.loads(path.read_text())
            change(answers)
            path.write_text(json.dumps(answers))

    @property
    def endpoints(self) -> list[str]:
        return stand_in._endpoints(self.cli)

    def lose(self, *left: str) -> None:
        with stand_in.locked(self.cli):
            (self.cli / "endpoints.json").write_text(json.dumps(left))

    def asked(self) -> list[dict[str, Any]]:
        path = self.cli / "asked.jsonl"
        with stand_in.locked(self.cli):
            lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def running(self) -> list[str]:
        """Commands of processes that work for this computer's sessions."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found += [line] if str(self.folder) in line else []
        return found

    def secrets(self) -> list[Path]:
        return [
            path for path in self.folder.rglob("*")
            if path.is_file() and not path.name.startswith("asked")
            and SECRET.encode() in path.read_bytes()
        ]  # fmt: skip


def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """One in this folder; its sessions end with it."""
    cli = tmp_path / "cli"
    cli.mkdir()
    program = cli / "colab"
    program.write_text(f"#!{sys.executable} -IS\n" + Path(stand_in.__file__).read_text())
    program.chmod(0o755)
    (cli / "endpoints.json").write_text("[]")
    (cli / "answers.json").write_text("{}")
    (cli / "always.json").write_text("{}")
    home = tmp_path / "home"
    (home / ".config" / "colab-cli").mkdir(parents=True)
    (home / ".config" / "colab-cli" / "token.json").write_text('{"token": "ya29.planted"}')
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLAB_CLI_PATH", str(program))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setattr(colab, "LOOK", 0.1)
    monkeypatch.setattr(watch, "LEAVE", LIMIT)
    provider = ColabProvider(
        Cli(os.environ), every=0.3, grace=LIMIT, sleep=lambda s: time.sleep(min(s, 0.05))
    )
    yield Place(tmp_path, provider, dict(os.environ))
    for folder in (tmp_path / "state" / "mimir" / "colab").glob("*/mimir-*"):
        if folder.is_dir():
            colab.clear(folder)
