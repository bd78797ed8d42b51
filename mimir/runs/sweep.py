"""_sweeps/<sweep>.json, the list of a sweep's runs, and their creation.

What all runs need is uploaded first under keys that bear its digest, then the list is created: it
is the only object that decides which runs there are. Their records follow from it, to the byte, so
whoever was cut off in between, or comes second, makes the same runs and none twice.

A run of a sweep has no copy of data and code: they are the sweep's, and live as long as it does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from mimir.config import Config
from mimir.errors import BadInput, Corrupt, RunExists
from mimir.runs import codec, layout, newest, sweep_state
from mimir.runs.order import MOST_SHARING, Plan
from mimir.runs.ranges import AtMost, Between, Time
from mimir.runs.record import RunRecord, create_run, described, find_run, put_once
from mimir.runs.store import Progress, Store, Stored, create_once
from mimir.text import near

FORMAT = 1
MOST_RUNS = 500
"""Of a sweep: its list stays far below what one document may have."""


@dataclass(frozen=True)
class Member:
    """A run of a sweep: its name, its preset, what it sets otherwise than that, its steps."""

    run: str
    preset: str
    settings: Mapping[str, Any]
    steps: Annotated[int, Between(1, 2**31 - 1)]


@dataclass(frozen=True)
class Sweep:
    """A list of runs as it was first submitted.

    bases: the whole configuration of each preset, by name, with the settings that all runs share.
    probe: what `probe.probe` returned. plan: how the runs get their machines, without a limit of
    the cost; max_cost: dollars over all runs, at_once: how many may train at a time, 0 for either
    where nothing was said; per_job: how many train side by side in one job of a cluster. data and
    code are filled in by `create`.
    """

    name: str
    created: Time
    bases: Mapping[str, dict[str, Any]]
    members: Annotated[tuple[Member, ...], AtMost(MOST_RUNS)]
    plan: Plan
    at_once: Annotated[int, Between(0, MOST_RUNS)] = 0
    max_cost: Annotated[float, Between(0, 1e9)] = 0.0
    per_job: Annotated[int, Between(1, MOST_SHARING)] = 1
    data: Stored | None = None
    code: Stored | None = None
    probe: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        layout.check_sweep(self.name)
        named = [layout.sweep_run(self.name, number) for number in range(len(self.members))]
        if named != [each.run for each in self.members]:
            raise Corrupt("its runs are not named by their numbers")
        for member in self.members:
            if member.preset not in self.bases:
                raise Corrupt(f"run {member.run} has the preset {member.preset!r}, which it lacks")

    def config(self, member: Member) -> Config:
        """The whole configuration of one of its runs."""
        return Config.from_dict(self.bases[member.preset]).with_settings(member.settings)

    def differing(self) -> list[str]:
        """Names of what its runs set each for themselves, the seed last."""
        names = {name for each in self.members for name in each.settings}
        several = len({each.preset for each in self.members}) > 1
        ordered = sorted(names, key=lambda name: (name == "seed", name))
        return [*(["preset"] if several else []), *ordered]

    def values(self, member: Member) -> dict[str, Any]:
        """What a run has for each of these."""
        config = self.config(member).as_dict()
        flat = {k: v for body in config.values() if isinstance(body, dict) for k, v in body.items()}
        return {name: flat[name] if name in flat else config[name] for name in self.differing()}

    def record(self, member: Member) -> RunRecord:
        """run.json of one of its runs, the same at every call."""
        config = self.config(member)
        return RunRecord(
            member.run, config.preset, config.as_dict(), config.training.seed, self.created,
            self.data, self.code, self.probe, self.name,
        )  # fmt: skip

    def to_bytes(self) -> bytes:
        body = {**asdict(self), "plan": self.plan.as_json()}
        return codec.sealed(body, FORMAT)

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> "Sweep":
        """OtherFormat for another format, Corrupt for what is no list."""
        value = codec.unsealed(data, FORMAT, where)
        plan = Plan.from_json(codec.child(value, "plan", where), f"{where}: plan")
        sweep = codec.typed(cls, value, where, plan=plan)
        if where != layout.sweep_key(sweep.name):
            raise Corrupt(f"{where} is the list of another sweep, {sweep.name!r}")
        for stored, folder in ((sweep.data, "data"), (sweep.code, "code")):
            ours = f"{layout.sweep_folder(sweep.name)}/{folder}/{stored.sha256}-" if stored else ""
            if stored and not stored.key.startswith(ours):
                raise Corrupt(f"{where}: {stored.key!r} is no {folder} of this sweep")
        return sweep


def find(store: Store, name: str) -> Sweep | None:
    """The list of a sweep, None if there is none; raises as `Sweep.from_bytes`."""
    key = layout.sweep_key(name)
    found = store.read(key)
    return Sweep.from_bytes(found.data, key) if found else None


def read(store: Store, name: str) -> Sweep:
    """The list of a sweep; BadInput, with the nearest names, if there is none."""
    found = find(store, name)
    if found is None:
        meant = near(name, names(store))
        hint = (
            f"did you mean {' or '.join(meant)}?"
            if meant
            else (f"make one by `python -m launch sweep --name {name} --grid …`")
        )
        raise BadInput(f"there is no sweep {name} in {store.url}: {hint}")
    return found


def names(store: Store) -> list[str]:
    """All sweeps of a store."""
    keys = store.list(f"{layout.SWEEPS}/")
    return [name for name in map(layout.parse_sweep, keys) if name]


def create(
    store: Store,
    wanted: Sweep,
    data: Path,
    code: Path | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Create the sweep and its runs, or what of them is missing; the list as stored.

    An existing list counts if it has the same runs on the same data; then its code and its plan
    count too, not those given.

    Raises:
        RunExists: the name is taken by a sweep with other runs or other data, or that of one of
            its runs by another run; nothing is changed then.
        BadInput: the sweep is being removed.
    """
    name = wanted.name
    sweep_state.must_not_be_removed(store, name)
    wanted = replace(
        wanted,
        data=described(data, name, layout.sweep_data_key),
        code=described(code, name, layout.sweep_code_key) if code else None,
    )
    existing = find(store, name)
    if existing is None:
        _check_free(store, wanted.members)
        for path, content in ((data, wanted.data), (code, wanted.code)):
            if path and content:
                put_once(store, content, path, progress)
        if create_once(store, layout.sweep_key(name), wanted.to_bytes()):
            existing = wanted
        else:
            existing = read(store, name)
    _check_same(store, existing, wanted)
    create_runs(store, existing)
    return existing


def create_runs(store: Store, sweep: Sweep) -> None:
    """Create those runs of the sweep that are missing. RunExists as `create`."""
    made = [create_run(store, sweep.record(member)) for member in sweep.members]
    newest.add(store, *(newest.NewRun(run.name, run.preset, run.created) for run in made))


def check_same_list(store: Store, existing: Sweep, wanted: Sweep) -> None:
    """RunExists, naming what differs, unless both have the same runs, whatever their data."""
    differing = []
    if existing.bases != wanted.bases:
        differing.append("other settings that all its runs share")
    if existing.members != wanted.members:
        count = f"{len(existing.members)} runs over {', '.join(existing.differing()) or 'nothing'}"
        differing.append(f"another grid ({count})")
    if differing:
        raise RunExists(
            f"sweep {existing.name} exists in {store.url} with "
            f"{' and '.join(differing)}: choose another --name, or go on with it as it is by "
            "--resume"
        )


def _check_same(store: Store, existing: Sweep, wanted: Sweep) -> None:
    check_same_list(store, existing, wanted)
    one, other = existing.data, wanted.data
    if one is None or other is None or one.sha256 != other.sha256:
        raise RunExists(
            f"sweep {existing.name} exists in {store.url} with other data: choose another --name, "
            "or go on with it as it is by --resume"
        )


def _check_free(store: Store, members: Iterable[Member]) -> None:
    taken = [each.run for each in members if find_run(store, each.run) is not None]
    if taken:
        raise RunExists(
            f"run {taken[0]} exists already in {store.url}, and belongs to no such sweep: choose "
            "another --name"
        )
