"""The main job, seen from outside in a few minutes on a CPU: `make demo`.

Submits the smoke preset, kills its machine in the middle, resumes it, waits for its end,
draws ten peptides, and leaves model, log, report and a picture of the loss in demo/.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "demo"
NAME = "demo"


def mimir(*words: str, capture: bool = False) -> str:
    """Run a command of Mimir's, shown as a user would type it."""
    if not capture:
        print(f"\n$ python -m {' '.join(words)}", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=dict(os.environ, MIMIR_STORE=(FOLDER / "store").as_uri()),
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"demo: `python -m {' '.join(words)}` ended with exit code {done.returncode}")
    return done.stdout or ""


def status() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(mimir("launch", "status", NAME, "--json", capture=True))
    return found


def wait_for_step(step: int) -> dict[str, Any]:
    """Wait until a checkpoint of at least this step is committed."""
    while True:
        found = status()
        if found["committed_step"] >= step:
            return found
        if found["state"] not in ("queued", "running"):
            sys.exit(f"demo: the run is {found['state']}: {found['reason']}")
        time.sleep(0.5)


def kill_machine(found: dict[str, Any]) -> None:
    """SIGKILL the worker and its training process: what a vanished machine looks like."""
    worker = found["attempts"][-1]["machine"]["pid"]
    os.killpg(os.getpgid(worker), signal.SIGKILL)


def main() -> None:
    began = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    mimir("launch", "submit", "--provider", "local", "--preset", "smoke", "--name", NAME, "--yes")
    found = wait_for_step(300)
    kill_machine(found)
    print(f"\n# killed its processes after the checkpoint of step {found['committed_step']}")
    mimir("launch", "status", NAME)
    mimir("launch", "resume", NAME)
    mimir("launch", "logs", NAME, "--follow")
    mimir("launch", "status", NAME)
    mimir("launch", "pull", NAME, "--out", str(FOLDER / "model"))
    mimir("mimir", "sample", "--run", NAME, "-n", "10")
    if status()["state"] != "done":
        sys.exit("demo: the run is not done")
    took = time.monotonic() - began
    print(f"\nDone in {took:.0f} s. The loss: {FOLDER / 'model' / 'loss.png'}")
    print(f"The report: {FOLDER / 'model' / 'report.html'}")


if __name__ == "__main__":
    main()
