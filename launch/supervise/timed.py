"""One round of `watch --once`, as a timer calls it: python -m launch.supervise.timed FILE.

The file holds what the user's shell had: which store, and the variables with its keys. It is
readable by its owner alone, so that neither the timer's own file nor a command line holds a
secret. How the round went is left beside it, for `doctor`.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import mimir
from mimir import atomic_file
from mimir.text import one_line

MOST_LOG = 64 << 10
"""Characters that are kept of what the newest round printed."""


@dataclass(frozen=True)
class Round:
    """How the newest round went. time: its end, unix s by this computer. said: its last line."""

    time: float
    code: int
    said: str


def record(file: Path) -> Path:
    """Where the newest round is written down."""
    return file.with_suffix(".last.json")


def log(file: Path) -> Path:
    """What the newest round printed."""
    return file.with_suffix(".log")


def last(file: Path) -> Round | None:
    """The newest round; None if there was none, or what is there is not one."""
    try:
        value = json.loads(record(file).read_text(encoding="utf-8"))
        return Round(float(value["time"]), int(value["code"]), str(value["said"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _environment(kept: Mapping[str, str]) -> dict[str, str]:
    """The variables of a round: those that were kept, but this very Mimir before any other."""
    both = {**os.environ, **kept}
    own = Path(mimir.__file__).resolve().parents[1]
    paths = [str(own), *filter(None, both.get("PYTHONPATH", "").split(os.pathsep))]
    return {**both, "PYTHONPATH": os.pathsep.join(paths)}


def main(file: Path) -> int:
    """Make the round; its exit code."""
    told = json.loads(file.read_text(encoding="utf-8"))
    done = subprocess.run(
        [sys.executable, "-m", "launch", "watch", "--once"],
        env=_environment(told["environ"]), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    text = done.stdout.decode(errors="replace")[-MOST_LOG:]
    said = one_line((text.strip().splitlines() or [""])[-1])
    atomic_file.write(log(file), text.encode(), 0o600)
    made = asdict(Round(time.time(), done.returncode, said))
    atomic_file.write(record(file), json.dumps(made).encode(), 0o600)
    print(text, end="")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
