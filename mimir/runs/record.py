"""run.json, the frozen job, and the creation of a run.

What a machine needs is uploaded first under keys that bear their digests, then run.json is
created, then HEAD. Each step may be repeated, so a submission that was cut off is repaired
by submitting again.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mimir.errors import BadInput, Corrupt, RunExists, StoreError
from mimir.runs import codec, layout, orders, tombstone
from mimir.runs.head import Head, find_head
from mimir.runs.origin import Origin
from mimir.runs.ranges import Time
from mimir.runs.store import Progress, Store, Stored, create_once
from mimir.runs.tombstone import Tombstone
from mimir.text import near

FORMAT = 3
TRIES = 5
"""Of a creation beside which runs of the same name are removed."""


@dataclass(frozen=True)
class RunRecord:
    """A job as it was submitted. `created` in unix seconds; `config` is plain JSON.

    data and code are filled in by `create_run`, but for a run of a sweep, which has those of the
    sweep; `probe` is what `probe.probe` returned. sweep: to which the run belongs, "" for none.
    origin: the other run from which it begins, None for a run that begins afresh.
    """

    name: str
    preset: str
    config: dict[str, Any]
    seed: int
    created: Time
    data: Stored | None = None
    code: Stored | None = None
    probe: dict[str, Any] = field(default_factory=dict)
    sweep: str = ""
    origin: Origin | None = None

    def __post_init__(self) -> None:
        layout.check_run(self.name)
        if self.sweep:
            layout.check_sweep(self.sweep)
        if not 0 <= self.seed < 2**63:
            raise BadInput(f"seed {self.seed} is not allowed: give one from 0 to 2^63 - 1")
        try:
            codec.encode(self.config)
        except (TypeError, ValueError) as error:
            raise BadInput(f"the configuration of {self.name} is not plain JSON: {error}") from None

    @property
    def config_sha256(self) -> str:
        """SHA-256 (hex) of the canonical JSON of `config`."""
        return codec.digest(self.config)

    @property
    def own(self) -> tuple[Stored, ...]:
        """What was stored for this run alone when it was created."""
        shared = (None, None) if self.sweep else (self.data, self.code)
        return tuple(each for each in (*shared, self.origin and self.origin.start) if each)

    def to_bytes(self) -> bytes:
        return codec.sealed({**asdict(self), "config_sha256": self.config_sha256}, FORMAT)

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "run.json") -> "RunRecord":
        """BadInput for another format, Corrupt for what is no record or was edited."""
        value = codec.unsealed(data, FORMAT, where)
        promised = value.pop("config_sha256", None)
        record = codec.typed(cls, value, where)
        if record.config_sha256 != promised:
            raise Corrupt(f"{where}: the configuration is not the one submitted; it was edited")
        whose = layout.sweep_folder(record.sweep) if record.sweep else record.name
        start = record.origin.start if record.origin else None
        if record.origin and (start is None or record.sweep):
            raise Corrupt(f"{where}: it begins from another run, but names no copy of its own")
        for stored, folder in ((record.data, "data"), (record.code, "code"), (start, "start")):
            ours = f"{whose}/{folder}/{stored.sha256}-" if stored else ""
            if stored and not stored.key.startswith(ours):
                raise Corrupt(f"{where}: {stored.key!r} is no {folder} of this run")
        return record


def create_run(
    store: Store,
    record: RunRecord,
    data: Path | None = None,
    code: Path | None = None,
    progress: Progress | None = None,
    start: Path | None = None,
) -> RunRecord:
    """Create the run with what it trains on and what it runs; the record as stored.

    start: what it begins with, if `record` has an origin.

    If the run exists with the same preset, configuration, seed and data, the existing record
    is returned: then its code counts, not the one given. RunExists, naming what differs,
    otherwise. BadInput while a run of this name is being removed.
    """
    name = record.name
    for _ in range(TRIES):
        before = tombstone.free(store, name)
        made = _created(store, record, data, code, progress, start, before)
        # A run of this name that was removed meanwhile took with it what was uploaded here.
        if tombstone.free(store, name) == before:
            return made
    raise StoreError(f"runs of the name {name} are created and removed all the time: try again")


def _created(
    store: Store, record: RunRecord, data: Path | None, code: Path | None,
    progress: Progress | None, start: Path | None, removed: Tombstone | None,
) -> RunRecord:  # fmt: skip
    """As create_run. removed: what stays of the run that had the name before, if any."""
    name = record.name
    wanted = replace(
        record,
        data=described(data, name, layout.data_key) if data else record.data,
        code=described(code, name, layout.code_key) if code else record.code,
    )
    if start and wanted.origin:
        begin = replace(wanted.origin, start=described(start, name, layout.start_key))
        wanted = replace(wanted, origin=begin)
    existing = find_run(store, name)
    if existing is None and removed and not _is_fresh(store, name):
        existing = find_run(store, name)
        if existing is None:
            raise BadInput(
                f"a machine of a removed run has written {layout.head_key(name)}: remove that by "
                f"`python -m launch rm {name}`, or choose another name"
            )
    if existing is None or removed:  # beside a removal it may have been deleted again
        there = existing or wanted
        for path, content, has in (
            (data, wanted.data, there.data), (code, wanted.code, there.code),
            (start, _start(wanted), _start(there)),
        ):  # fmt: skip
            if path and content and content == has:
                put_once(store, content, path, progress)
    if existing is None:
        if create_once(store, layout.record_key(name), wanted.to_bytes()):
            existing = wanted
        else:
            existing = read_run(store, name)
    must_be_same(store, existing, wanted)
    _ensure_head(store, name, removed)
    return existing


def must_be_same(store: Store, existing: RunRecord, wanted: RunRecord) -> None:
    """RunExists, naming what differs, unless the records are of one and the same run."""
    differing = _differences(existing, wanted)
    if differing:
        raise RunExists(
            f"run {existing.name} exists in {store.url} with another {', '.join(differing)}: "
            "choose another name, or resume it as it is"
        )


def record_sha256(store: Store, name: str) -> str:
    """SHA-256 (hex) of run.json; BadInput if there is none."""
    found = store.read(layout.record_key(name))
    if found is None:
        raise BadInput(f"there is no run {name} in {store.url}: check the name and the store")
    return hashlib.sha256(found.data).hexdigest()


def read_run(store: Store, name: str, sha256: str = "") -> RunRecord:
    """The record of a run; BadInput, with the nearest names, if there is none.

    sha256: Corrupt if run.json has another digest; "" if it is not known.
    """
    if sha256 and record_sha256(store, name) != sha256:
        raise Corrupt(
            f"{layout.record_key(name)} is not the one that this attempt was ordered for: it was "
            "edited; restore it, or submit under another name"
        )
    record = find_run(store, name)
    if record is None:
        removed = tombstone.find(store, name)
        if removed is not None:
            raise BadInput(f"{removed.sentence} ({store.url})")
        sweep = layout.parse_sweep(f"{layout.SWEEPS}/{name}.json")
        if sweep is not None and store.read(layout.sweep_key(sweep)) is not None:
            first = layout.sweep_run(sweep, 0)
            raise BadInput(
                f"{name} is a sweep, and no run of {store.url}: name one of its runs, such as "
                f"{first}, or say --sweep {name} where a command takes that"
            )
        # What others write for it may be there without it: its own name is no help.
        others = (each for each in store.folders() if layout.is_run(each) and each != name)
        meant = near(name, others)
        hint = f"did you mean {' or '.join(meant)}?" if meant else "check the name and the store"
        raise BadInput(f"there is no run {name} in {store.url}: {hint}")
    return record


def find_run(store: Store, name: str) -> RunRecord | None:
    """The record of a run, None if there is none; raises as `RunRecord.from_bytes`."""
    key = layout.record_key(name)
    found = store.read(key)
    if found is None:
        return None
    record = RunRecord.from_bytes(found.data, key)
    if record.name != name:
        raise Corrupt(f"{key} is the record of another run, {record.name!r}")
    return record


def put_once(store: Store, content: Stored, path: Path, progress: Progress | None) -> None:
    """Store a file's content as described, unless it is there. BadInput if the file changed."""
    if content.key not in store.list(content.key):
        _check_same(store.put_content(content.key, path, progress), content, path)


def described(path: Path, owner: str, key: Callable[[str, str, str], str]) -> Stored:
    """What a file's content is once it is stored. owner: of whom `key` makes a key."""
    sha256, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                sha256.update(block)
                size += len(block)
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    return Stored(key(owner, sha256.hexdigest(), path.name), size, sha256.hexdigest())


def _check_same(stored: Stored, described: Stored, path: Path) -> None:
    if stored != described:
        raise BadInput(f"{path} changed while it was uploaded: leave it alone and submit again")


def _differences(existing: RunRecord, wanted: RunRecord) -> list[str]:
    differing = [
        f"config.{key}"
        for key in sorted(existing.config.keys() | wanted.config.keys())
        if existing.config.get(key, ...) != wanted.config.get(key, ...)
    ]
    differing += [name for name in ("preset", "seed", "sweep") if _differ(existing, wanted, name)]
    if wanted.origin and wanted.origin != existing.origin:
        had = f" ({existing.origin.words})" if existing.origin else " (none)"
        differing.append(f"beginning{had}")
    if wanted.data and (not existing.data or existing.data.sha256 != wanted.data.sha256):
        differing.append("data")
    return differing


def _start(record: RunRecord) -> Stored | None:
    return record.origin.start if record.origin else None


def _differ(existing: RunRecord, wanted: RunRecord, name: str) -> bool:
    return bool(getattr(existing, name) != getattr(wanted, name))


def check_not_lost(store: Store, name: str) -> None:
    """Corrupt if a run without HEAD has had attempts: nobody may begin it afresh."""
    if any(True for _ in store.list(f"{name}/a")):
        key = layout.head_key(name)
        raise Corrupt(f"{key} is missing although the run has attempts: restore it")


def _is_fresh(store: Store, name: str) -> bool:
    """Whether HEAD is missing, or one that a submission has just created."""
    head = find_head(store, name)
    return head is None or replace(head, nonce="", seq=0) == Head(run=name)


def _ensure_head(store: Store, name: str, removed: Tombstone | None) -> None:
    key = layout.head_key(name)
    if store.read(key) is not None:
        return
    if orders.newest_order(store, name) > orders.before_first(store, name, removed):
        return  # it was lost: the next attempt begins with what the newest order remembers
    if removed is None:
        check_not_lost(store, name)
    seq = removed.seq if removed else 0
    create_once(store, key, Head(run=name, nonce="created", seq=seq).to_bytes())
