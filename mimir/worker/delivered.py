"""Checks that the machine is the one that was ordered, before data moves: no torch, a few seconds.

Only what the machine shows to be less than promised counts against it. What cannot be looked at
(an image without nvidia-smi, a store that is away) is said, and left to what finds it next.
"""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable

from mimir.errors import StoreError
from mimir.runs import layout
from mimir.runs.promised import Promised
from mimir.runs.store import Store

MEMORY = 0.9
"""Share of the nominal memory that a card shows at least: some is kept for error correction."""
DISK = 0.5
"""Share of the ordered disk: file systems, images and other units take their part."""
LEAST_FREE_GB = 2.0
"""What packages, data and checkpoints of a run need."""
UPLOAD_S = 2.0
"""For how long the rate is measured, if it is the promised one; SLOW_START longer is too slow."""
SLOW_START = 2.0
"""Seconds for a connection to come up to its rate."""
SMALLEST, LARGEST = 256 << 10, 4 << 20
"""Bytes that are sent to measure a rate."""
QUERY = ("name", "memory.total", "driver_version")
QUERY_WITHIN = 60.0


def short(
    store: Store, run: str, attempt: int, promised: Promised | None, say: Callable[[str], None]
) -> str:
    """As `shortfalls`, each told, as one text; "" in nothing, or where nothing was promised."""
    if promised is None:
        return ""
    found = shortfalls(store, run, attempt, promised, say)
    for each in found:
        say(each)
    return "; ".join(found)


def shortfalls(
    store: Store,
    run: str,
    attempt: int,
    promised: Promised,
    say: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> list[str]:
    """In what the machine falls short of what was promised, a clause for each; [] in nothing."""
    return [
        *_gpu(promised, say),
        *_disk(promised),
        *_upload(store, run, attempt, promised.upload_mbit, say, clock),
    ]


def _gpu(promised: Promised, say: Callable[[str], None]) -> list[str]:
    if not (promised.gpu or promised.memory_gb or promised.driver):
        return []
    shown = _nvidia_smi(say)
    if shown is None:
        return []
    name, memory, driver = shown
    wrong = []
    if promised.gpu and not promised.gpu.fit(name):
        wrong.append(f"its GPU is {name}, and not the {promised.gpu.names[0]} that was ordered")
    if 0 < memory < MEMORY * promised.memory_gb:
        wrong.append(f"its GPU has {memory:.1f} GB of {promised.memory_gb:g}")
    if _version(driver) < _version(promised.driver):
        wrong.append(f"its driver is {driver}, and was said to be {promised.driver}")
    return wrong


def _nvidia_smi(say: Callable[[str], None]) -> tuple[str, float, str] | None:
    """The first GPU's name, memory (GB, 0 if it is not told) and driver; None if nobody tells."""
    if shutil.which("nvidia-smi") is None:
        say("there is no nvidia-smi here: the GPU is not compared with the order")
        return None
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=QUERY_WITHIN, check=False,
        )  # fmt: skip
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        fields = [each.strip() for each in lines[0].split(",")] if lines else []
    except (OSError, subprocess.TimeoutExpired) as error:
        say(f"nvidia-smi does not answer ({type(error).__name__}): the GPU is not compared")
        return None
    if done.returncode or len(fields) != len(QUERY):
        said = (done.stdout + done.stderr).strip().splitlines()
        say(f"nvidia-smi shows no GPU ({said[0] if said else 'nothing'}): it is not compared")
        return None
    name, memory, driver = fields
    mebibytes = float(memory) if re.fullmatch(r"\d+(\.\d+)?", memory) else 0.0
    return name, mebibytes * 2**20 / 1e9, driver


def _version(text: str) -> int:
    """The first number of a driver's version: its branch. 0 if there is none."""
    match = re.match(r"\d{1,9}", text)
    return int(match[0]) if match else 0


def _disk(promised: Promised) -> list[str]:
    if not promised.disk_gb:
        return []
    usage = shutil.disk_usage(tempfile.gettempdir())
    total, free = usage.total / 1e9, usage.free / 1e9
    if total < DISK * promised.disk_gb:
        return [f"its disk has {total:.0f} GB of {promised.disk_gb:g}"]
    return [f"its disk has only {free:.1f} GB left"] if free < LEAST_FREE_GB else []


def _upload(
    store: Store, run: str, attempt: int, least: float, say: Callable[[str], None],
    clock: Callable[[], float],
) -> list[str]:  # fmt: skip
    """least: Mbit/s."""
    if not least:
        return []
    size = int(min(max(least * 1e6 / 8 * UPLOAD_S, SMALLEST), LARGEST))
    within = size * 8 / 1e6 / least + SLOW_START
    key, taken = layout.upload_key(run, attempt), []
    try:
        for _ in range(2):  # the first one may pay for a connection, or for a busy moment
            began = clock()
            store.put(key, os.urandom(size))
            taken.append(clock() - began)
            if taken[-1] <= within:
                break
        store.delete(key)
    except StoreError as error:
        say(f"the rate to the store is not measured: {error}")
        return []
    if min(taken) <= within:
        return []
    rate = size * 8 / 1e6 / min(taken)
    return [f"it sends {rate:.1f} Mbit/s to the store, and {least:.1f} are needed and offered"]
