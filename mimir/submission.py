"""Prepares a run and creates it in a store: shared by `mimir train` and `launch submit`.

No torch here: a laptop without it submits as well as a training machine does.
"""

import hashlib
import os
import secrets
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from mimir import settings_input
from mimir.config import MOST, SECTIONS, Config, load_preset, preset_names
from mimir.console import bar
from mimir.data import sample_path
from mimir.errors import BadInput, RunExists
from mimir.runs import layout, newest
from mimir.runs.origin import Start
from mimir.runs.probe import probe
from mimir.runs.record import RunRecord, create_run, read_run
from mimir.runs.store import Store

if TYPE_CHECKING:
    from mimir.data.peptides import Peptides

HELD_OUT = 2000
"""Background peptides wanted for validation, as far as a tenth of the data gives them."""


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


def packed_cache() -> Path:
    """The folder of this user in which packed data is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mimir" / "packed"


def fresh_name(preset: str) -> str:
    """A run name that nobody has: the preset, the day, four random hex digits."""
    stem = Path(preset).stem.lower().replace(".", "-")
    return f"{stem}-{time.strftime('%m%d')}-{secrets.token_hex(2)}"


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
            f"{self.pairs_in_batch} pairs in each batch: each of {self.pairs:,} is seen "
            f"{visits:.1f} times in all these steps"
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


@dataclass(frozen=True)
class Data:
    """A packed data set, and the path that the user gave."""

    given: Path
    packed: Path
    peptides: "Peptides"


def open_data(data: str = "") -> Data:
    """Open a data set, and pack it if it is a CSV. data and BadInput as `prepare`."""
    from mimir.data.pack import load

    path = Path(data).expanduser() if data else sample_path()
    packed = path if path.suffix == ".safetensors" else _packed(path)
    return Data(path, packed, load(packed))


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
    config = job.config
    found = store.read(layout.record_key(name))
    if found is None:
        result = probe(store, name)
    else:
        existing = read_run(store, name)
        result = existing.probe
        config = replace(config, preset=existing.preset)
        known = Config.from_dict(existing.config)
        config = replace(config, runtime=known.runtime)
        if config.sha256() != known.sha256():
            raise RunExists(
                f"run {name} exists in {store.url} with {_differences(known, config)}; choose "
                "another --name, or go on with it as it is by `resume`"
            )
    record = RunRecord(
        name=name,
        preset=config.preset,
        config=config.as_dict(),
        seed=config.training.seed,
        created=store.now(),
        probe=result,
        origin=start.origin if start else None,
    )
    with tempfile.TemporaryDirectory(prefix="mimir-") as folder:
        copy = Path(folder) / start.file if start else None
        if start and copy:
            copy.write_bytes(start.content)
        size = sum(path.stat().st_size for path in (job.data, code, copy) if path)
        with bar("upload", size, "B") as advance:
            made = create_run(store, record, job.data, code, advance, copy)
    if found is None:
        newest.add(store, newest.NewRun(name, made.preset, made.created))
    return made


def _differences(known: Config, wanted: Config) -> str:
    pairs = [
        f"{key} {value!r} (you gave {wanted.as_dict()[section][key]!r})"
        for section, body in known.as_dict().items()
        if section not in ("preset", "runtime")
        for key, value in body.items()
        if value != wanted.as_dict()[section][key]
    ]
    return ", ".join(pairs)


def _packed(csv: Path) -> Path:
    """The packed form of a CSV, from the cache if the content was packed before."""
    from mimir.data import sidecar, target_sequences
    from mimir.data.pack import pack
    from mimir.data.peptides import FORMAT
    from mimir.data.split import RULES

    if not csv.is_file():
        raise BadInput(f"there is no data file {csv}; give a CSV or a packed .safetensors")
    content = csv.read_bytes()
    rows = max(1, content.count(b"\n") - 1)
    digest = hashlib.sha256(f"format {FORMAT}, split {RULES}, held out {HELD_OUT}\n".encode())
    digest.update(content)
    del content  # packing reads it again, and needs the room
    for beside in (sidecar.path_of(csv), target_sequences.path_of(csv)):
        if beside.is_file():  # both change what is packed
            kind = beside.name.removeprefix(csv.name).encode()
            digest.update(hashlib.sha256(kind + beside.read_bytes()).digest())
    out = packed_cache() / f"{digest.hexdigest()[:32]}.safetensors"
    if out.is_file():
        return out
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        out = Path(tempfile.mkdtemp(prefix="mimir-")) / out.name
    # A hundredth of a small data set would be too few peptides for a steady figure.
    pack(csv, out, validation=max(0.01, min(0.1, HELD_OUT / rows)))
    return out
