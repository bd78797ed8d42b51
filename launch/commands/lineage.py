"""What `submit` makes of --init-from and --continue-from: the job, and what it begins with."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mimir.errors import BadInput

if TYPE_CHECKING:
    from mimir.config import Config
    from mimir.data.opened import Data
    from mimir.output.start import Fetch
    from mimir.runs.origin import Start
    from mimir.runs.record import RunRecord
    from mimir.runs.store import Store, Stored
    from mimir.submission import Job

DEFAULT = "small"
"""Preset of a run that is told none, and begins afresh."""


def prepared(
    store: "Store", preset: str, settings: Mapping[str, Any], data: str, init_from: str,
    continue_from: str,
) -> "tuple[Job, Start | None]":  # fmt: skip
    """The checked job, and what it begins with; nothing is made yet.

    Args:
        preset: "" for the one that the other run has, else DEFAULT.
        init_from, continue_from: RUN or RUN@STEP, "" for neither.

    Raises:
        BadInput: what is wrong, where, and what to do.
    """
    from mimir.submission import prepare

    if not (init_from or continue_from):
        return prepare(preset or DEFAULT, settings, data), None
    if init_from and continue_from:
        raise BadInput("--init-from takes weights, and --continue-from the whole state: say one")
    if init_from:
        return _from_weights(store, preset, settings, data, init_from)
    for option, value in (("--preset", preset), ("--data", data)):
        if value:
            raise BadInput(
                f"{option} is for a new model: --continue-from has the configuration and the data "
                "of the run that it names; change settings by name, such as --epochs"
            )
    return _longer(store, settings, continue_from)


def lines(job: "Job", start: "Start | None") -> list[tuple[str, str]]:
    """(what, value) for the plan; nothing for a run that begins afresh."""
    if start is None:
        return []
    origin = start.origin
    found = [("begins", f"with {origin.words}; a copy is the new run's own")]
    if origin.done:
        found.append((
            "", f"{job.steps - origin.done:,} steps are left. The learning rate is that of a "
            f"schedule of {job.steps:,} steps, entered at this step: it jumps up from what it was "
            f"there, and the weights are not those of {job.steps:,} steps in one go",
        ))  # fmt: skip
    return found


def _from_weights(
    store: "Store", preset: str, settings: Mapping[str, Any], data: str, words: str
) -> "tuple[Job, Start]":
    from mimir.config import load_preset
    from mimir.data.opened import open_data
    from mimir.data.peptides import of_run
    from mimir.output import start
    from mimir.runs.origin import named
    from mimir.runs.record import read_run
    from mimir.submission import job_of

    run, step = named(words, "--init-from")
    source = read_run(store, run)
    config = (load_preset(preset) if preset else _config_of(source)).with_settings(settings)
    start.must_have_its_shape(source, config)
    opened = open_data(data) if data else _its_data(store, source)
    if data:
        its = of_run(store, source).vocabulary
        start.must_know_its_targets(source, its, opened.peptides.vocabulary)
    job = job_of(config, opened)
    with _fetching(store) as fetch:
        return job, start.weights_of(store, source, step, fetch)


def _longer(store: "Store", settings: Mapping[str, Any], words: str) -> "tuple[Job, Start]":
    from mimir.output import start
    from mimir.runs.origin import named
    from mimir.runs.record import read_run
    from mimir.submission import job_of

    run, step = named(words, "--continue-from")
    source = read_run(store, run)
    config = _config_of(source).with_settings(settings)
    start.must_go_on_as_it_was(source, config)
    job = replace(job_of(config, _its_data(store, source)), expected_end=None)
    with _fetching(store) as fetch:
        made = start.state_of(store, source, step, fetch)
    start.must_be_longer(made.origin, job.steps)
    return job, made


def _config_of(source: "RunRecord") -> "Config":
    """The run's configuration, for whatever machine the new run gets."""
    from mimir.config import Config

    config = Config.from_dict(source.config)
    return replace(config, runtime=replace(config.runtime, device="auto"))


def _its_data(store: "Store", source: "RunRecord") -> "Data":
    """The run's packed data on this computer, in the cache of packed data."""
    from mimir.atomic_file import write
    from mimir.data.opened import Data, packed_cache
    from mimir.data.pack import load

    stored = source.data
    if stored is None:
        raise BadInput(f"run {source.name} names no data: nothing can begin from it")
    path = packed_cache() / f"{stored.sha256}.safetensors"
    with _fetching(store) as fetch:
        content = fetch(stored, f"data set of run {source.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, content)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}") from error
    return Data(path, path, load(path))


@contextlib.contextmanager
def _fetching(store: "Store") -> "Iterator[Fetch]":
    """Gets objects, each with a bar."""
    from launch.ui.terminal import Transfers

    with Transfers() as transfers:

        def fetch(stored: "Stored", what: str) -> bytes:
            key, size, sha256 = stored.key, stored.size, stored.sha256
            progress = transfers.begin(what, size)
            return store.get(key, size=size, sha256=sha256, progress=progress)

        yield fetch
