"""_launcher/removed/<run>.json: that a run of this name was removed, or is being removed.

It stays when all else of the run is gone. What an attempt writes lies under the attempt's number,
so a number is never used twice under a name, whatever the earlier run's machines may still write:
a new run of the name counts on from the last one (`mimir.runs.begin`). What the removed run's
machines cost stays, too, because budgets of a month and of a store count it.

One small object, changed by compare-and-swap, where no machine can write. "deleting": all machines
were seen to be gone, and whoever removes the run deletes what it left; nobody may submit under the
name. "over": nothing of it is left, and the name is free.
"""

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated

from mimir.errors import BadInput, Conflict, Corrupt, Fenced, StoreDenied, StoreError, StoreUnfit
from mimir.runs import codec, layout
from mimir.runs.ranges import Between, NumberOrNone, OneOf, Time
from mimir.runs.store import Store
from mimir.text import moment

FORMAT = 1
DELETING, OVER = "deleting", "over"

Dollars = Annotated[float, Between(0, 1e9)]


@dataclass(frozen=True)
class Tombstone:
    """attempt: the last that was ordered of any run of this name; 0 if none ever was. time: unix s
    by the store's clock. spent: dollars of their machines by calendar month (UTC), "2026-11"."""

    run: str
    attempt: NumberOrNone
    word: Annotated[str, OneOf((DELETING, OVER))]
    time: Time
    nonce: str
    spent: Mapping[str, Dollars] = field(default_factory=dict)

    @property
    def seq(self) -> int:
        """The first change of the next run's HEAD: more than any of the removed one, so that its
        workers do not take the new HEAD for an old one that the store shows from memory."""
        return int(self.time)

    @property
    def sentence(self) -> str:
        """What a person is told who names the run."""
        if self.word == OVER:
            return f"run {self.run} was removed on {moment(self.time)}"
        return f"run {self.run} is being removed: finish that by `python -m launch rm {self.run}`"


def find(store: Store, run: str) -> Tombstone | None:
    """What stays of the removed runs of this name; None if there never was one."""
    return read(store, run)[0]


def read(store: Store, run: str) -> tuple[Tombstone | None, str]:
    """As `find`, with the version to swap; "" where there is none."""
    key = layout.tombstone_key(run)
    found = store.read(key)
    if found is None:
        return None, ""
    made = codec.typed(Tombstone, codec.unsealed(found.data, FORMAT, key), key)
    if made.run != run:
        raise Corrupt(f"{key} is of another run, {made.run!r}")
    return made, found.version


def names(store: Store) -> list[str]:
    """All names of which a run was removed."""
    keys = store.list(f"{layout.TOMBSTONES}/")
    return [name for name in map(layout.parse_tombstone, keys) if name]


def free(store: Store, run: str) -> Tombstone | None:
    """As `find`; BadInput while a run of this name is being removed."""
    made = find(store, run)
    if made is not None and made.word == DELETING:
        raise BadInput(made.sentence)
    return made


def write(
    store: Store, run: str, word: str, attempt: int, spent: Mapping[str, float], version: str
) -> Tombstone:
    """Write the word over that version ("" for none).

    Fenced if somebody else wrote one meanwhile: then the run that was looked at is removed
    already, and what is there now may be another one.
    """
    made = Tombstone(run, attempt, word, store.now(), secrets.token_hex(16), dict(spent))
    key, data = layout.tombstone_key(run), codec.sealed(asdict(made), FORMAT)
    try:
        if version:
            store.compare_and_swap(key, data, version)
        else:
            store.put_if_absent(key, data)
    except (StoreDenied, StoreUnfit):
        raise
    except StoreError as error:  # also Conflict; whether it landed, its nonce tells
        found, now = read(store, run)
        if found is not None and found.nonce == made.nonce:
            return made
        if now == version and not isinstance(error, Conflict):
            raise
        raise Fenced(f"run {run} is being removed by somebody else: look at it again") from error
    return made
