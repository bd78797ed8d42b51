"""All that a session with a GPU should show, in under ten minutes: `make gpu-proofs`.

Each part is a process of its own, and one that fails or takes too long does not keep the next from
running. The parts run in the order of what is lost if the time ends: figures first, each alone on
the GPU, then the proofs, all at the same time.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mimir import cli
from mimir.errors import BadInput
from mimir.text import nearest

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Part:
    """Words for Python, and the seconds after which it counts as hanging.

    {out}, {before} and {data} in them stand for the options of `main`.
    """

    words: str
    limit: float


PARTS = {
    "revisions": Part("-m bench.revisions {before} --out {out} --data {data}", 240),
    "steps": Part(
        "-m bench.steps --device cuda --presets large,small,medium --sides ours,compiled,autocast "
        "--blocks 5 --seconds-per-block 0.4 --out {out} --data {data}", 300,
    ),
    "kernels": Part(
        "-m bench.kernels --out {out} --presets large,small --budget 150 --tiles=False", 210,
    ),
    "profile-large": Part("-m bench.kernel_profile --preset large --out {out} --data {data}", 120),
    "profile-small": Part("-m bench.kernel_profile --preset small --out {out} --data {data}", 120),
    "killed": Part("-m pytest tests/e2e/test_gpu.py", 300),
    "captured": Part("-m pytest --durations 5 tests/training/test_capture.py", 300),
    "preflight": Part(
        "-m mimir preflight --preset large --device cuda --out {out}/preflight-large.json", 300,
    ),
}  # fmt: skip
ORDER = "revisions,steps,kernels,profile-large,killed+captured+preflight,profile-small"


def main(
    *, out: str, parts: str = "", seconds: float = 570.0, before: str = "", data: str = ""
) -> int:
    """Run the proofs that need a GPU, one after another, and say how long each took.

    What they print also goes to OUT/gpu-proofs.log, their results into OUT. Exit code 1 if one
    failed.

    Args:
        out: a folder.
        parts: names in the order to run, with commas between, or + between those that run at the
            same time (default: all). There are revisions (only with --before), steps, kernels,
            profile-large, profile-small, killed, captured and preflight.
        seconds: end all of it after this long.
        before: folder of another checkout, whose steps are timed beside this one's.
        data: a CSV or a packed data set for the figures (default: the shipped sample).

    Example:
        python -m bench.gpu_proofs --out build/gpu --parts steps,killed+captured
    """
    wanted = parts or (ORDER if before else ORDER.partition(",")[2])
    groups = [[name.strip() for name in group.split("+")] for group in wanted.split(",")]
    chosen = [name for group in groups for name in group]
    for name in chosen:
        if name not in PARTS:
            raise BadInput(f"there is no part {name!r}{nearest(name, PARTS)}")
    if "revisions" in chosen and not before:
        raise BadInput("part revisions needs --before FOLDER, a checkout to compare with")
    folder = Path(out).resolve()
    options = {
        "out": str(folder),
        "before": str(Path(before).resolve()),
        "data": str(Path(data).resolve()) if data else "",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = (folder / "gpu-proofs.log").open("w", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{out} cannot be written ({error.strerror}); give another --out") from None
    began = time.monotonic()
    results: list[tuple[str, float, str]] = []

    def tell(line: str) -> None:
        print(line, flush=True)
        log.write(line + "\n")
        log.flush()

    def run(name: str) -> tuple[str, float, str]:
        start = time.monotonic()
        left = seconds - (start - began)
        if left <= 0:
            return name, 0.0, "not begun: the time was over"
        words = [word.format(**options) for word in PARTS[name].words.split()]
        code = _run(words, min(left, PARTS[name].limit), lambda line: tell(f"{name}: {line}"))
        took = time.monotonic() - start
        failed = "FAILED: cut off" if code is None else f"FAILED with exit code {code}"
        return name, took, "ok" if code == 0 else failed

    with log, ThreadPoolExecutor(len(PARTS)) as pool:
        for group in groups:
            tell(f"=== {' and '.join(group)}, after {time.monotonic() - began:.1f} s")
            results += pool.map(run, group)
        tell("")
        for name, took, result in results:
            tell(f"{name:<14}{took:>7.1f} s  {result}")
    return int(any(result != "ok" for _, _, result in results))


def _run(words: list[str], limit: float, tell: Callable[[str], None]) -> int | None:
    """The exit code of a Python; None if it was killed, with all it started, at the limit."""
    environment = {**os.environ, "MIMIR_REQUIRE_GPU": "1", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, env=environment, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        late = threading.Event()

        def end() -> None:
            late.set()
            _kill(process.pid)

        timer = threading.Timer(limit, end)
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                tell(line.rstrip("\n"))
            code = process.wait()
        finally:
            timer.cancel()
    return None if late.is_set() else code


def _kill(process: int) -> None:
    """Kill a process and all that it has started, in whatever session: they hold the GPU."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            state = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(state[1]) == process:
                _kill(int(folder.name))
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    cli.run("python -m bench.gpu_proofs", main)
