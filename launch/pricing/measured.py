"""Step times that were measured: by the bench, and by past runs of a store."""

import json
import math
import statistics
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from launch.pricing.forecast import Measured
from launch.pricing.gpus import canonical, get
from launch.pricing.kernels import fuses
from launch.pricing.workload import GUIDE_LENGTH
from mimir.config import Config, load_preset
from mimir.errors import BadInput, MimirError
from mimir.model import kernel_limits
from mimir.runs import notes
from mimir.runs.execution import Execution, same_speed
from mimir.runs.newest import newest
from mimir.runs.record import RunRecord, find_run
from mimir.runs.status import SLOWEST, read_head
from mimir.runs.store import Store

BENCH = Path(__file__).resolve().parents[1] / "measurements"
if not BENCH.is_dir():  # a checkout keeps them with the bench, a wheel inside the package
    BENCH = Path(__file__).resolve().parents[2] / "bench" / "results"
FILES = "[cg]pu-*.json"
LIKE = 1.1
"""Factor within which peptides are as long as those that were measured: a step takes longer by
their length at most."""
NEWEST_RUNS = 20
"""Runs of a store that are looked at: each costs some five requests."""
NEWEST_OF_PRESET = 60
"""Runs of a preset of which it is looked up whether they have this size and batch."""
NEWEST_ATTEMPTS = 8
"""Attempts of a run that are looked at."""
AT_ONCE = 32
"""Runs that are looked at at once."""
SETTLED = 10
"""Rows of the metrics after which an attempt's rate counts: its first one holds the compilation,
and each later one takes three tenths of what is left of that away."""


def find(
    config: Config, store: Store | None = None, folder: Path = BENCH, length: float = GUIDE_LENGTH
) -> dict[str, Measured]:
    """Step times of this configuration by device (GPUs by canonical name).

    length: mean residues of the peptides that it trains on.

    Past runs count before the bench: they ran with all that a run has beside its steps. What the
    bench measured on their device stays with them, because other cards are estimated by it.
    """
    found = from_bench(config, folder, length)
    if store is not None:
        for device, ran in from_runs(config, store).items():
            bench_s = found[device].step_s if device in found else 0.0
            found[device] = replace(ran, bench_s=bench_s)
    return found


def from_bench(
    config: Config, folder: Path = BENCH, length: float = GUIDE_LENGTH
) -> dict[str, Measured]:
    """What `python -m bench.steps` wrote: of several files of a device the one with peptides of
    most nearly this length, to 1 %, and the newest of these.

    So the shipped sample, on which a new revision is soon measured, does not take the place of the
    full data. A file that cannot be read, or that is of another preset, size or length of peptide,
    is passed over.
    """
    try:
        preset = load_preset(config.preset)
    except BadInput:
        return {}
    if not _alike(preset, config):
        return {}
    best: dict[str, tuple[float, str, Measured]] = {}
    for path in sorted(folder.glob(FILES)):
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
            figures = body["presets"][config.preset]
            milliseconds = float(figures["sides"]["ours"]["median_ms"])
            batch = config.training.batch
            if figures["batch"] != batch or not milliseconds > 0:
                continue
            apart = abs(math.log(float(figures["residues_per_step"]) / batch / length))
            device, date = _bench_device(body["machine"]), str(body["date"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        near = -round(apart, 2)
        if apart < math.log(LIKE) and (device not in best or best[device][:2] < (near, date)):
            source = f"bench/results/{path.name}"
            best[device] = (near, date, Measured(milliseconds / 1e3, source))
    return {device: measured for device, (_, _, measured) in best.items()}


def from_runs(config: Config, store: Store) -> dict[str, Measured]:
    """What attempts of runs of this preset, size and batch said of their rate: the median.

    Any machine of the store may have written that: `forecast` takes it within REPORTED_WITHIN of
    the model only, and `judge` takes nothing of it for a GPU that the model does not know.

    A run that cannot be read is passed over; StoreError if the store's runs cannot be listed.
    """
    of_preset = [run for run in newest(store) if run.preset == config.preset][:NEWEST_OF_PRESET]
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        records = [r for r in pool.map(lambda run: _record(store, run.name), of_preset) if r]
        alike = [record for record in records if _of(record, config)]
        rates = [
            rate
            for rates in pool.map(lambda r: _rates(store, r.name, config), alike[:NEWEST_RUNS])
            for rate in rates
        ]
    by_device: dict[str, list[tuple[float, str]]] = {}
    for device, rate, run in rates:
        by_device.setdefault(device, []).append((rate, run))
    return {
        device: Measured(1 / statistics.median(rate for rate, _ in seen), _source(seen), True)
        for device, seen in by_device.items()
    }


def _source(seen: Iterable[tuple[float, str]]) -> str:
    runs = list(dict.fromkeys(run for _, run in seen))
    return f"run {runs[0]}" if len(runs) == 1 else f"{len(runs)} runs, newest {runs[0]}"


def _bench_device(machine: dict[str, object]) -> str:
    if machine["gpu"]:
        return canonical(str(machine["gpu"]))
    threads = int(str(machine["threads"]))
    return f"{machine['cpu']} ({threads} thread{'s' if threads > 1 else ''})"


def _record(store: Store, name: str) -> RunRecord | None:
    try:
        return find_run(store, name)
    except Exception:  # noqa: BLE001 - one that cannot be read tells nothing, and hides no other
        return None


def _of(record: RunRecord, config: Config) -> bool:
    try:
        return record.preset == config.preset and _alike(Config.from_dict(record.config), config)
    except MimirError:
        return False


def _alike(known: Config, wanted: Config) -> bool:
    """Whether a step of one takes as long as one of the other on the same device."""
    ours, theirs = wanted.training, known.training
    return (
        known.model == wanted.model
        and (ours.batch, ours.accumulate) == (theirs.batch, theirs.accumulate)
        and (known.runtime.precision, known.runtime.graph_steps, known.runtime.compile)
        == (wanted.runtime.precision, wanted.runtime.graph_steps, wanted.runtime.compile)
        and kernel_limits.names(known) == kernel_limits.names(wanted)
    )


def _rates(store: Store, run: str, config: Config) -> list[tuple[str, float, str]]:
    """(device, steps/s, run) of its attempts that trained for long enough to tell."""
    try:
        return list(_settled(store, run, config))
    except Exception:  # noqa: BLE001 - one that cannot be read tells nothing, and hides no other
        return []


def _settled(store: Store, run: str, config: Config) -> Iterator[tuple[str, float, str]]:
    head = read_head(store, run)
    for attempt, began in head.lineage[-NEWEST_ATTEMPTS:]:
        pulse = notes.read_heartbeat(store, run, attempt)
        if pulse is None or not pulse.rate or pulse.rate < SLOWEST or not pulse.device:
            continue
        if not _as_asked(pulse.execution, config, canonical(pulse.device)):
            continue
        if pulse.step - began >= SETTLED * config.training.log_every:
            yield canonical(pulse.device), pulse.rate, run


def _as_asked(told: Execution | None, config: Config, device: str) -> bool:
    """Whether a machine executed its steps as this configuration's are on such a device."""
    gpu, runtime = get(device), config.runtime
    compiled, precision = runtime.compile != "off", runtime.precision
    if precision == "auto":
        precision = gpu.half if gpu else ""
    fused = compiled and fuses(config, gpu) if gpu else None
    return same_speed(told, compiled, precision, fused, kernel_limits.names(config))
