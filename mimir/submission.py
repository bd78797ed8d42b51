"""Prepares a run and creates it in a store: shared by `mimir train` and `python -m launch submit`.

No torch here: a laptop without it submits as well as a training machine does.
"""

import hashlib
import os
import secrets
import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mimir import settings_input
from mimir.config import MOST, SECTIONS, Config, load_preset, preset_names
from mimir.console import bar
from mimir.data.opened import Data, open_data
from mimir.errors import BadInput, RunExists
from mimir.runs import layout, newest, tombstone
from mimir.runs.origin import Start, longer
from mimir.runs.probe import probe
from mimir.runs.record import RunRecord, create_run, described, find_run, must_be_same
from mimir.runs.status import derive
from mimir.runs.store import Store, Stored

ASK = ("help", "version")
"""Words by which people ask a command for help. No new run or sweep has such a name."""


def default_store() -> str:
    """$MIMIR_STORE, or a folder in the user's data directory."""
    given = os.environ.get("MIMIR_STORE")
    if given:
        return given
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return (Path(base) / "mimir" / "runs").as_uri()


def store_folder(url: str) -> Path | None:
    """The folder of a file:// store; None for any other."""
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def check_reachable(store: Store, name: str) -> None:
    """What is wrong with the store, before any work is done for a run of this name.

    Nothing is left there. Raises as Store.read; BadInput for a folder that cannot be made or
    written.
    """
    folder = store_folder(store.url)
    if folder is None:
        store.read(layout.record_key(name))
        return
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryDirectory(prefix=".mimir-", dir=folder):
            pass
    except OSError as error:
        raise BadInput(
            f"store {store.url}: nothing can be written in {folder} ({error.strerror or error}); "
            "choose another --store, or correct the folder's permissions"
        ) from error


def fresh_name(preset: str) -> str:
    """A run name that nobody has: the preset, the day, four random hex digits."""
    stem = Path(preset).stem.lower().replace(".", "-")
    return f"{stem}-{time.strftime('%m%d')}-{secrets.token_hex(2)}"


def check_no_word(name: str, command: str, what: str = "run") -> None:
    """BadInput if the name of something new is one of ASK. what: it will be."""
    if name in ASK:
        raise BadInput(
            f"{name} is no name for a {what}: "
            + (
                f"`{command} --help` is the help of `{command}`"
                if name == "help"
                else "`mimir version` tells the version"
            )
        )


def check_no_preset(name: str, command: str, *, said: bool) -> None:
    """BadInput if a preset, or a word that asks for help, is given where a run's name stands.
    said: a preset, or what has one."""
    check_no_word(name, command)
    is_file = name.endswith((".yaml", ".yml"))
    if is_file or (name in preset_names() and not said):
        what = "a preset's file" if is_file else "a preset"
        raise BadInput(
            f"`{command}` takes the name of the run first, and {name} is {what}: say `{command} "
            f"NAME --preset {name}`, or `{command} --preset {name}` for a run with a fresh name"
        )


@dataclass(frozen=True)
class Job:
    """A checked job: configuration and packed data, not yet in a store."""

    config: Config
    data: Path
    """The packed data set."""
    peptides: int
    steps: int
    pairs: int = 0
    """Training pairs."""
    pairs_in_batch: int = 0
    """0: as they lie in the data."""
    expected_end: int | None = None
    """Step at which early stopping is expected to end it, as `data.mix.expected_end`."""

    @property
    def mix(self) -> str:
        """How pairs and background are mixed, for people."""
        share = self.config.training.pair_share
        if not self.pairs_in_batch:
            none = f" (it is of one kind: pair_share {share:g} counts for nothing)" if share else ""
            return f"pairs as they lie in the data{none}"
        visits = self.pairs_in_batch * self.steps / self.pairs
        return (
            f"each batch holds {self.pairs_in_batch} of the {self.pairs:,} pairs; each pair is "
            f"used about {visits:.1f} times"
        )


def meanings() -> list[tuple[str, str]]:
    """Each setting's name, and its meaning with the value that each preset gives it."""
    presets = {name: load_preset(name) for name in preset_names()}
    found = []
    for section, kind in SECTIONS.items():
        for name, meaning in settings_input.explained(kind).items():
            values = {key: getattr(getattr(of, section), name) for key, of in presets.items()}
            shown = ", ".join(f"{key}: {value}" for key, value in values.items())
            if len(set(values.values())) == 1:
                value = next(iter(values.values()))
                shown = f"default: {'none' if value == '' else value}"
            found.append((name, f"{meaning} ({shown})"))
    return found


def prepare(preset: str, settings: Mapping[str, Any], data: str = "") -> Job:
    """Check preset, settings and data, and pack the data if it is a CSV.

    Args:
        preset: a name, or a path to a YAML file.
        settings: overrides by setting name.
        data: a CSV or a packed data set; empty: the sample that ships with Mimir.

    Raises:
        BadInput: what is wrong, where, and what to do.
    """
    config = load_preset(preset).with_settings(settings)
    return job_of(config, open_data(data))


def job_of(config: Config, data: Data) -> Job:
    """The job of a configuration; BadInput if it and the data do not fit together."""
    from mimir.data.mix import expected_end, pairs_in_batch, steps_of
    from mimir.data.pack import TRAIN

    path, peptides = data.given, data.peptides
    rows = len(peptides.subset(TRAIN))
    if config.training.batch > rows:
        raise BadInput(
            f"batch is {config.training.batch}, but {path} has only {rows} training peptides; "
            "use a smaller --batch or more data"
        )
    steps = steps_of(config.training, rows)
    if steps > MOST:
        raise BadInput(
            f"epochs is {config.training.epochs}, which makes {steps:,} steps of {rows:,} "
            f"peptides in batches of {config.training.batch}; at most {MOST:,} can be counted"
        )
    pairs = len(peptides.subset(TRAIN, 1))
    mixed = pairs_in_batch(config.training.pair_share, config.training.batch, rows, pairs)
    expected = expected_end(config, steps, rows // config.training.batch, pairs, mixed)
    return Job(config, data.packed, len(peptides), steps, pairs, mixed, expected)


def enter(
    store: Store, name: str, job: Job, code: Path | None = None, start: Start | None = None
) -> RunRecord:
    """Create the run in the store, or find it there with the same configuration and data.

    code: Mimir's wheel, which its machines run; an existing run keeps the one it has. start: what
    it begins with, where that is another run's.
    Settings of the section `runtime` do not tell runs apart: those of the existing run stay.

    Raises:
        RunExists: the name is taken by a run with another configuration or other data.
        StoreUnfit: the store ignores conditional writes.
    """
    layout.check_run(name)
    existing = find_run(store, name)
    record = _record(store, name, job, start, existing)
    if existing is None:
        record = replace(record, probe=probe(store, name))
    with tempfile.TemporaryDirectory(prefix="mimir-") as folder:
        copy = Path(folder) / start.file if start else None
        if start and copy:
            copy.write_bytes(start.content)
        size = sum(path.stat().st_size for path in (job.data, code, copy) if path)
        with bar("upload", size, "B") as advance:
            made = create_run(store, record, job.data, code, advance, copy)
    if existing is None:
        newest.add(store, newest.NewRun(name, made.preset, made.created))
    return made


@dataclass(frozen=True)
class Entry:
    """What `enter` would make of a job under a name, or find there.

    config: with which the run trains. known: its name, "" if there is none yet. notes: a sentence
    for each setting that was said and that it keeps as it has it.
    """

    config: Config
    known: str = ""
    notes: tuple[str, ...] = ()


def check_enterable(
    store: Store, name: str, job: Job, start: Start | None = None,
    settings: Collection[str] = (),
) -> Entry:  # fmt: skip
    """Refuse what `enter` would refuse, as far as reading the store tells; nothing is written.

    settings: names of those that were said. Raises RunExists as `enter`; BadInput while a run of
    this name is being removed.
    """
    layout.check_run(name)
    tombstone.free(store, name)
    existing = find_run(store, name)
    if existing is None:
        return Entry(job.config)
    wanted = _record(store, name, job, start, existing, settings)
    wanted = replace(wanted, data=described(job.data, name, layout.data_key))
    if start:
        sha256 = hashlib.sha256(start.content).hexdigest()
        copy = Stored(layout.start_key(name, sha256, start.file), len(start.content), sha256)
        wanted = replace(wanted, origin=replace(start.origin, start=copy))
    must_be_same(store, existing, wanted)
    config = Config.from_dict(existing.config)
    known, given = config.runtime, job.config.runtime
    notes = (
        f"note: run {name} keeps {field.name} {getattr(known, field.name)!r}, as it was submitted: "
        f"{getattr(given, field.name)!r} changes nothing"
        for field in fields(known)
        if field.name in settings and getattr(known, field.name) != getattr(given, field.name)
    )
    return Entry(config, name, tuple(notes))


def _record(
    store: Store, name: str, job: Job, start: Start | None, existing: RunRecord | None,
    given: Collection[str] = (),
) -> RunRecord:  # fmt: skip
    """The record that the run is to have; RunExists if it has another configuration.

    given: names of the settings that were said, which are told first.
    """
    config = job.config
    if existing is not None:
        known = Config.from_dict(existing.config)
        config = replace(config, preset=existing.preset, runtime=known.runtime)
        if config.sha256() != known.sha256():
            raise RunExists(
                f"run {name} exists in {store.url} with "
                f"{_differences(known, config, job.config.preset, given)}; choose another --name, "
                f"or {_as_it_is(store, name)}"
            )
    return RunRecord(
        name=name,
        preset=config.preset,
        config=config.as_dict(),
        seed=config.training.seed,
        created=store.now(),
        probe=existing.probe if existing else {},
        origin=start.origin if start else None,
    )


def _differences(known: Config, wanted: Config, preset: str, given: Collection[str]) -> str:
    """What differs, first what was given. preset: of the command, where `wanted` has the run's."""
    said, left = [], []
    for section, body in known.as_dict().items():
        if section in ("preset", "runtime"):
            continue
        for key, value in body.items():
            other = wanted.as_dict()[section][key]
            if value != other and key in given:
                said.append(f"{key} {value!r} (you gave {other!r})")
            elif value != other:
                left.append(f"{key} {value!r} (this command has {other!r})")
    if left and preset != known.preset:
        said.append(f"--preset {known.preset} (this command has {preset})")
    return ", ".join([*said, *left])


def _as_it_is(store: Store, name: str) -> str:
    """How to go on with a run of a name that is taken."""
    if derive(store, name, store.now()).state == "done":
        return longer(name)
    return "go on with it as it is by `resume`"
