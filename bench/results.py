"""Result files: JSON with everything that one needs to judge a figure later."""

import json
import os
import platform
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import torch

from mimir.errors import BadInput
from mimir.training.device import processor

FOLDER = Path(__file__).parent / "results"
FORMAT = 1


def machine(device: torch.device, threads: int) -> dict[str, Any]:
    """The machine and the versions that a figure depends on."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "gpu": gpu,
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda if gpu else None,
        "python": platform.python_version(),
        "system": platform.platform(),
        "revision": _revision(),
    }


def load_average() -> float | None:
    """Runnable processes over the last minute; None where the system does not say."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def save(result: dict[str, Any], folder: Path, kind: str = "") -> Path:
    """Write a result under a name made of its device and day, replacing an older one of the day.

    kind: what the name begins with; "": gpu or cpu, for step times.

    Raises:
        BadInput: the folder cannot be written.
    """
    gpu = None if kind else result["machine"]["gpu"]
    device = gpu or result["machine"]["cpu"]
    text = json.dumps({"format": FORMAT, **result}, indent=1, allow_nan=False) + "\n"
    path = named(folder, kind or ("gpu" if gpu else "cpu"), device, ".json")
    write(path, text if kind else short_lists(text))
    return path


def named(folder: Path, kind: str, device: str, ending: str) -> Path:
    """The file of today's result of a kind on a device."""
    slug = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    return folder / f"{kind}-{slug}-{time.strftime('%Y-%m-%d', time.gmtime())}{ending}"


def write(path: Path, text: str) -> None:
    """Write a result's text, its folder too.

    Raises:
        BadInput: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror}); give another --out") from None


def newest(folder: Path) -> list[dict[str, Any]]:
    """The newest result of each device, by the dates inside the files; CPUs first.

    Raises:
        BadInput: there is none, or a file is not a result of this format.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted(folder.glob("[cg]pu-*.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            known = result["format"] == FORMAT
            key = ("gpu" if result["machine"]["gpu"] else "cpu", path.stem[:-11])
            later = key not in found or found[key]["date"] < result["date"]
        except (ValueError, KeyError, TypeError):
            raise BadInput(
                f"{path} is no result of `python -m bench.steps`; remove it or measure again"
            ) from None
        if not known:
            raise BadInput(f"{path} is of format {result['format']}, not {FORMAT}; measure again")
        if later:
            found[key] = result
    if not found:
        raise BadInput(f"there are no results in {folder}; measure with `python -m bench.steps`")
    return [found[key] for key in sorted(found)]


def _revision() -> str:
    """The checkout's commit, with a + when files differ from it; "" outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        paths = ("mimir", "bench/*.py", "jobs")
        changed = git("status", "--porcelain", "--", *(f":/{path}" for path in paths))
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except FileNotFoundError:
        return ""


def short_lists(text: str) -> str:
    """Lists of numbers on one line: a result is read by people too."""
    return re.sub(
        r"\[\s+([-\d.,e\s]+?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", text
    )
