"""_sweeps/<sweep>/state.json: whether more of a sweep's runs are to be begun, and by whom.

One small object, changed by compare-and-swap. Each `--stop` and each `--resume` writes the next
number; whoever begins runs does so under the number of their own start, and ends when they find
another one. So a stop holds for launchers that somebody else started elsewhere, and the last of
two that come at the same time counts.
"""

import random
from dataclasses import asdict, dataclass
from typing import Annotated

from mimir.errors import BadInput, StoreDenied, StoreError, StoreUnfit
from mimir.runs import codec, layout
from mimir.runs.head import fresh
from mimir.runs.ranges import Between, OneOf, Time
from mimir.runs.store import Store

FORMAT = 1
GO, STOP, REMOVED = "go", "stop", "removed"
"""removed: nobody begins a run any more, and all of them are being removed."""
TRIES = 20
"""Of a swap that meets others: people type these commands."""


@dataclass(frozen=True)
class State:
    """What was last said of a sweep. number: of how many such words; 0 before the first."""

    word: Annotated[str, OneOf((GO, STOP, REMOVED))] = GO
    number: Annotated[int, Between(0, 10**9)] = 0
    time: Time = 0.0
    nonce: str = ""


def read(store: Store, sweep: str) -> State:
    """What was last said of the sweep."""
    return _read(store, sweep)[0]


def must_not_be_removed(store: Store, sweep: str) -> None:
    """BadInput if somebody has begun to remove the sweep."""
    _must_stay(sweep, read(store, sweep))


def _must_stay(sweep: str, state: State) -> None:
    if state.word == REMOVED:
        raise BadInput(
            f"sweep {sweep} is being removed: finish that by "
            f"`python -m launch sweep {sweep} --remove`"
        )


def say(store: Store, sweep: str, word: str, rng: random.Random | None = None) -> State:
    """Write the word, whatever was said before, and its number.

    Raises:
        BadInput: the sweep is being removed, which nothing takes back.
        StoreError: the store did not answer, or others wrote each time.
    """
    rng = rng or random.SystemRandom()
    last: StoreError | None = None
    for _ in range(TRIES):
        before, version = _read(store, sweep)
        if word in (GO, STOP):
            _must_stay(sweep, before)
        made = State(word, before.number + 1, store.now(), fresh(rng))
        try:
            _write(store, sweep, made, version)
            return made
        except (StoreDenied, StoreUnfit):
            raise
        except StoreError as error:  # also Conflict; whether it landed, its nonce tells
            last = error
            if _read(store, sweep)[0].nonce == made.nonce:
                return made
    raise StoreError(f"{layout.sweep_state_key(sweep)} could not be changed: {last}")


def _read(store: Store, sweep: str) -> tuple[State, str]:
    key = layout.sweep_state_key(sweep)
    found = store.read(key)
    if found is None:
        return State(), ""
    return codec.typed(State, codec.unsealed(found.data, FORMAT, key), key), found.version


def _write(store: Store, sweep: str, state: State, version: str) -> None:
    key, data = layout.sweep_state_key(sweep), codec.sealed(asdict(state), FORMAT)
    if version:
        store.compare_and_swap(key, data, version)
    else:
        store.put_if_absent(key, data)
