"""How long the laptop's commands take to answer, beside other tools' that are installed here.

Each is a process of its own, from its start to its end, and they take turns, so that a busy
machine slows all alike. `submit --dry-run` talks to a fake of RunPod and to moto's S3 server,
both on this machine: opening the store, asking for offers, ranking them, showing the plan.

    python -m bench.start
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import results
from mimir import cli
from mimir.errors import BadInput

LIMITS = {"launch --help": 0.3, "submit --dry-run": 1.5}
"""Seconds that ours may take on a quiet machine."""
OTHERS = {"sky --version": "MIMIR_SKY", "vastai --help": "MIMIR_VASTAI"}
"""Others' commands, and the variables that may name a program which is not on PATH."""
DRY_RUN = ("submit", "--preset", "smoke", "--name", "start", "--provider", "runpod", "--dry-run")


@dataclass
class Command:
    """A command line; seconds: of the clock, cpu: of the processor, for each time it ran."""

    name: str
    words: Sequence[str]
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def run(self, environ: Mapping[str, str]) -> None:
        before, began = _children(), time.perf_counter()
        done = subprocess.run(self.words, env=environ, capture_output=True, text=True)
        self.seconds.append(round(time.perf_counter() - began, 4))
        self.cpu.append(round(_children() - before, 4))
        if done.returncode:
            raise BadInput(f"{self.name} ended with {done.returncode}: {done.stderr.strip()}")


def measure(*, times: int = 10, out: str = str(results.FOLDER)) -> None:
    """Measure `--help` and `submit --dry-run` of the launcher, and others' commands beside them.

    Args:
        times: that each is run, in turns; the first turn is not counted.
        out: folder for the result file.

    Example:
        MIMIR_SKY=/opt/sky/bin/sky python -m bench.start
    """
    import torch  # only for the machine's description

    if times < 1:
        raise BadInput(f"--times is {times}, but must be at least 1")
    commands = [*_ours(), *_others()]
    load = results.load_average()
    with _services() as environ:
        for turn in range(times + 1):
            for command in commands:
                command.run(environ)
            if turn == 0:  # what it finds on the disk, and writes there compiled
                for command in commands:
                    command.seconds.clear()
                    command.cpu.clear()
    shown = {each.name: _figures(each) for each in commands}
    for name, figures in shown.items():
        limit = f"   (limit {LIMITS[name]:.1f} s)" if name in LIMITS else ""
        print(
            f"{name:<20} {figures['median_s']:.3f} s  ({figures['least_s']:.3f} to "
            f"{figures['most_s']:.3f}; processor {figures['median_cpu_s']:.3f} s){limit}"
        )
    missing = sorted(set(OTHERS) - set(shown))
    if missing:
        print(f"not installed here: {', '.join(missing)}")
    machine = results.machine(torch.device("cpu"), torch.get_num_threads())
    body = {"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine,
            "load_average": load, "times": times, "commands": shown}  # fmt: skip
    print(f"load before: {load}; written to {results.save(body, Path(out), 'start')}")


def _ours() -> list[Command]:
    python = (sys.executable, "-m", "launch")
    return [
        Command("launch --help", (*python, "--help")),
        Command("submit --dry-run", (*python, *DRY_RUN)),
    ]


def _others() -> list[Command]:
    found = []
    for name, variable in OTHERS.items():
        program, _, option = name.partition(" ")
        path = os.environ.get(variable) or shutil.which(program)
        if path:
            found.append(Command(name, (path, option)))
    return found


@contextmanager
def _services() -> Iterator[dict[str, str]]:
    """An environment whose store and RunPod are on this machine, until the block ends."""
    from bench.store import server
    from tests.clouds.fake_runpod import FakeRunPod

    with (
        server("") as store,
        FakeRunPod("account-key") as fake,
        tempfile.TemporaryDirectory(prefix="mimir-bench-") as home,
    ):
        environ = {
            **os.environ, "HOME": home, "MIMIR_STORE": store, "RUNPOD_API_KEY": "account-key",
            "MIMIR_RUNPOD_URL": fake.url,
        }  # fmt: skip
        # With it Python compiles our sources again at each start, and keeps others' compiled.
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        yield environ


def _figures(command: Command) -> dict[str, Any]:
    return {
        "median_s": statistics.median(command.seconds),
        "least_s": min(command.seconds),
        "most_s": max(command.seconds),
        "median_cpu_s": statistics.median(command.cpu),
        "seconds": command.seconds,
    }


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    cli.run("python -m bench.start", measure)
