"""The commands of `python -m mimir`."""

import functools
import json as json_text
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mimir import cli
from mimir.atomic_file import STDOUT, OutFile, path_of
from mimir.console import drawing
from mimir.data import commands as data
from mimir.errors import BAD_CONFIG, DIFFERENT, DONE, INTERRUPTED, MimirError, must_have
from mimir.output import benchmark
from mimir.output import commands as output


def train(
    name: str = "",
    *,
    preset: str = "",
    store: str = "",
    data: str = "",
    verbose: bool = False,
    **settings: object,
) -> int:
    """Train here, in this terminal; a run of this name goes on where it stopped.

    Ctrl-C commits a checkpoint and ends; the same command, the run's name alone, or
    `python -m mimir resume NAME` goes on. Whoever trains the run elsewhere at the moment is fenced
    off and loses nothing that was committed.

    Args:
        name: name of the run (default: a fresh one).
        preset: smoke, small, medium, large, or a YAML file of your own (default: small).
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        data: a CSV (sequence,label,target) or a packed data set (default: the shipped sample).
        verbose: also print the settings.
        settings: any setting of the preset, such as --lr 3e-4 or --epochs 2; --device cuda:1 is
            the second GPU.

    Example:
        python -m mimir train small_test --preset small -v
    """
    from mimir.checks.child import must_import
    from mimir.checks.settings_fit import must_fit
    from mimir.runs import cards
    from mimir.runs.record import find_run
    from mimir.runs.store import open_store
    from mimir.submission import (
        Entry,
        check_enterable,
        check_no_preset,
        check_reachable,
        default_store,
        enter,
        fresh_name,
        prepare,
    )

    must_import("torch")
    check_no_preset(name, "train", said=bool(preset))
    opened = open_store(store or default_store())
    if name and not (preset or data or settings) and find_run(opened, name) is not None:
        return resume(name, store=store)
    if "device" in settings:
        settings["device"], card = cards.split(settings["device"])
        os.environ |= cards.only(card, os.environ)
    name, wanted = name or fresh_name(preset or "small"), name
    check_reachable(opened, name)
    job = prepare(preset or "small", settings, data)
    entry = Entry(job.config)
    if wanted:
        entry = check_enterable(opened, name, job, settings=settings)
    for note in entry.notes:
        print(note, file=sys.stderr)
    must_fit(entry.config, entry.known)
    record = enter(opened, name, job)
    if verbose:
        print(json_text.dumps(record.config, indent=2))
    return _work_here(opened, record.name, store)


def resume(name: str, *, store: str = "") -> int:
    """Go on with a run here, from its last checkpoint.

    Args:
        name: of the run.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).

    Example:
        python -m mimir resume small_test
    """
    from mimir.checks.child import must_import
    from mimir.checks.settings_fit import must_fit
    from mimir.config import Config
    from mimir.runs.record import read_run
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    must_import("torch")
    opened = open_store(store or default_store())
    must_fit(Config.from_dict(read_run(opened, name).config), name)
    return _work_here(opened, name, store)


def _work_here(store: Any, name: str, named: str) -> int:
    """Train here. named: --store as it was given, for the command that goes on."""
    import platform
    import shlex

    from mimir.runs import notes
    from mimir.runs.begin import raise_attempt
    from mimir.runs.collect import try_collect
    from mimir.runs.machine import Machine
    from mimir.runs.orders import TERMINAL
    from mimir.runs.record import read_run
    from mimir.runs.status import final_head
    from mimir.worker.supervisor import Worker, to_stdout

    read_run(store, name)
    attempt = raise_attempt(store, name)
    machine = Machine(TERMINAL, store.now(), host=platform.node())
    notes.record_machine(store, name, attempt, machine)
    try_collect(store, name, print)
    print(f"run {name} in {store.url}; follow it by `python -m launch status {name}`", flush=True)
    interactive = sys.stdout.isatty()
    code = Worker(store, name, attempt, out=to_stdout, interactive=interactive).work()
    if code == DONE:
        final_head(store, name, store.now())  # sealed by whoever holds the user's own rights
    elif code == INTERRUPTED:
        more = f" --store {shlex.quote(named)}" if named else ""
        print(f"go on here: python -m mimir resume {name}{more}", file=sys.stderr)
    return code


def replay(name: str, *, store: str = "", anyway: bool = False, json: bool = False) -> int:
    """Prove a run exact: train its last steps again, and compare every tensor.

    They are those from its last checkpoint but one to the last.

    Weights, averages, moments and counters are compared; there is no random state to compare. It
    must be done on the kind of device and with the version of torch that trained those steps. What
    comes out is kept in the store, and the report shows it. Exit code 0: identical; 80: different.

    Args:
        name: of the run; it may go on meanwhile.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        anyway: compare also on another device or version of torch; the result says so.
        json: print JSON.

    Example:
        python -m mimir replay small_test
    """
    must_have(("torch",))
    from mimir.checks import replay as checks
    from mimir.runs import replays
    from mimir.runs.record import read_run
    from mimir.runs.store import open_store
    from mimir.submission import default_store
    from mimir.training import compiler

    opened = open_store(store or default_store())
    tell = functools.partial(print, file=sys.stderr)
    compiler.keep(say=tell)
    found = checks.replay(opened, name, anyway=anyway, say=tell)
    try:
        read_run(opened, name)  # it may have been removed meanwhile
        replays.write(opened, name, found)
    except MimirError as error:  # e.g. keys that only read
        print(f"note: the result is not kept in the store: {error}", file=sys.stderr)
    if json:
        body = {"run": name, "identical": found.identical, **asdict(found)}
        print(json_text.dumps(body, indent=2))
    else:
        print(f"run {name}: {found.sentence}")
    return DONE if found.identical else DIFFERENT


def preflight(
    *,
    preset: str = "small",
    data: str = "",
    limit_hours: cli.Hours = 12.0,
    out: str = "",
    json: bool = False,
    **settings: object,
) -> int:
    """Try a preset on this machine in under two minutes: will it train here, and how long?

    Takes up to 300 steps with the real engine, saves, loads and repeats a checkpoint, draws
    peptides, and forecasts. Needs no store and leaves nothing behind. Exit code 0: passed;
    78: this machine or this session does not suit the preset.

    Args:
        preset: smoke, small, medium, large, or a YAML file of your own.
        data: a CSV (sequence,label,target) or a packed data set (default: the shipped sample).
        limit_hours: hours that a session lasts at most; 0: no limit.
        out: a file to write the report to, as JSON; `-`: standard output.
        json: print JSON.
        settings: any setting of the preset, such as --accumulate 2.

    Example:
        python -m mimir preflight --preset large
    """
    from tqdm import tqdm

    from mimir.checks.preflight import Limits, examine
    from mimir.checks.preflight_checks import PreflightChecks
    from mimir.submission import prepare
    from mimir.training import compiler

    limits, shown = Limits(hours=limit_hours), ""
    inputs = [("--preset", Path(preset)), ("--data", path_of(data or preset, "--data"))]
    target = OutFile(out, inputs) if out else None
    job = prepare(preset, settings, data)
    compiler.keep(say=functools.partial(print, file=sys.stderr))

    def tell(name: str, part: float) -> None:
        nonlocal shown
        stages.n = round(100 * part)
        stages.set_description_str(f"preflight: {name}")
        if stages.disable and name != shown:
            shown = name
            print(f"preflight: {name} …", file=sys.stderr, flush=True)

    with tqdm(
        total=100, disable=not sys.stderr.isatty(), leave=False, file=drawing(sys.stderr),
        bar_format="{desc} {bar} {elapsed}",
    ) as stages:  # fmt: skip
        report = examine(job.config.preset, PreflightChecks(job, limits, tell), tell)
    text = json_text.dumps(report.as_json(), indent=2) + "\n"
    if target:
        target.write(text.encode())
    shown = text if json else report.table() + "\n"
    print(shown, end="", file=sys.stderr if out == STDOUT else sys.stdout)
    return DONE if report.passed else BAD_CONFIG


TREE: cli.Tree = {
    "train": train,
    "resume": resume,
    "sample": output.sample,
    "score": output.score,
    "evaluate": output.evaluate,
    "replay": replay,
    "preflight": preflight,
    "benchmark": {"pepbenchmark": benchmark.pepbenchmark},
    "data": {name: getattr(data, name) for name in data.__all__},
}
SUMMARY = "Mimir trains a generator of short peptides, and loses nothing when the machine dies."
