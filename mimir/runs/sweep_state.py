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
from mimir.runs.order import MOST_SHARING, Plan
from mimir.runs.ranges import Between, OneOf, Time
from mimir.runs.store import Store

FORMAT = 1
GO, STOP, REMOVED = "go", "stop", "removed"
"""removed: nobody begins a run any more, and all of them are being removed."""
TRIES = 20
"""Of a swap that meets others: people type these commands."""


@dataclass(frozen=True)
class Terms:
    """Under what a start begins runs. plan: of each, without a limit of its cost. at_once: runs at
    a time. max_cost: dollars over all, 0 for no limit. per_job: runs that share a job."""

    plan: Plan
    at_once: Annotated[int, Between(1, 10**6)]
    max_cost: Annotated[float, Between(0, 1e9)] = 0.0
    per_job: Annotated[int, Between(1, MOST_SHARING)] = 1


@dataclass(frozen=True)
class State:
    """What was last said of a sweep. number: of how many such words; 0 before the first. terms:
    of the start that it allows."""

    word: Annotated[str, OneOf((GO, STOP, REMOVED))] = GO
    number: Annotated[int, Between(0, 10**9)] = 0
    time: Time = 0.0
    nonce: str = ""
    terms: Terms | None = None


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


def say(
    store: Store, sweep: str, word: str, rng: random.Random | None = None,
    terms: Terms | None = None,
) -> State:  # fmt: skip
    """Write the word, whatever was said before, and its number. terms: of a start (GO).

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
        made = State(word, before.number + 1, store.now(), fresh(rng), terms)
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
    value = codec.unsealed(found.data, FORMAT, key)
    terms = None
    if value.get("terms") is not None:
        said = codec.child(value, "terms", key)
        plan = Plan.from_json(codec.child(said, "plan", key), f"{key}: plan")
        terms = codec.typed(Terms, said, key, plan=plan)
    return codec.typed(State, value, key, terms=terms), found.version


def _write(store: Store, sweep: str, state: State, version: str) -> None:
    body = asdict(state)
    if state.terms is not None:
        body["terms"]["plan"] = state.terms.plan.as_json()
    key, data = layout.sweep_state_key(sweep), codec.sealed(body, FORMAT)
    if version:
        store.compare_and_swap(key, data, version)
    else:
        store.put_if_absent(key, data)
