"""Tests whether a store refuses what it must refuse, when a run is created.

Some S3 servers do not know If-None-Match or If-Match on writes; the worst of them accept the
header and write anyway, so that two machines would both believe they own a run. Others
honour them one request at a time only. What is asked here is exactly what the commit rests on: by
one writer (`conditions`), then by several at once (`race`).
"""

import random
from typing import Any, NoReturn

from mimir.errors import Conflict, NotFound, StoreDenied, StoreError, StoreUnfit
from mimir.runs import layout
from mimir.runs import race as races
from mimir.runs.head import fresh
from mimir.runs.store import Store

_WAYS_OUT = (
    "Ways out: a bucket without versioning on Ceph 18 (RADOS gateway), or file:///… on a disk that "
    "outlives the machine, both of which pass this probe; of any other server, `python -m launch "
    "doctor --store URL` tells"
)
"""Only what tests/runs/test_probe.py passes on: what merely should work is no way out."""


def probe(store: Store, run: str, rng: random.Random | None = None) -> dict[str, Any]:
    """Try the promises on objects of its own; what was found, for run.json.

    Raises and leaves behind as `conditions` and `race`, which it is.
    """
    found = conditions(store, run, rng)
    return {**found, "race": race(store, run, rng)}


def race(store: Store, run: str, rng: random.Random | None = None) -> str:
    """Several writers at once; what was tried. After `conditions`, which learns a server's form.

    Raises:
        StoreUnfit: more than one of them won, or what is there is not the winner's.
    """
    try:
        return races.race(store, run, rng or random.SystemRandom())
    except StoreUnfit as error:
        _unfit(store, str(error))


def conditions(store: Store, run: str, rng: random.Random | None = None) -> dict[str, Any]:
    """One writer; what was found.

    StoreUnfit, saying what the store did and what to do, if it does not keep a promise.
    Other StoreErrors as they come. Leaves nothing behind when the store is fit.
    """
    rng = rng or random.SystemRandom()
    key = layout.probe_key(run, fresh(rng))
    bodies = [f"{fresh(rng)}\n".encode() for _ in range(6)]
    try:
        first = store.put_if_absent(key, bodies[0])
        _holds(store, key, bodies[0], "an object just created cannot be read back")
        _refused(
            store, lambda: store.put_if_absent(key, bodies[1]), "a second create of the same key"
        )
        _holds(store, key, bodies[0], "a refused create changed the object")
        # The right version first: it teaches an S3 store the form of If-Match to use below.
        second = _swapped(store, key, bodies[2], first)
        _holds(store, key, bodies[2], "an accepted replacement was not applied")
        if second == first:
            _unfit(store, "it gave the same version to two different bodies")
        _refused(
            store,
            lambda: store.compare_and_swap(key, bodies[3], first),
            "a write over a stale version",
        )
        _holds(store, key, bodies[2], "a refused replacement changed the object")
        if key not in store.list(key):
            _unfit(store, "its listing does not show an object just written")
        store.delete(key)
        _refused(
            store,
            lambda: store.compare_and_swap(key, bodies[4], second),
            "a write over a deleted object",
        )
        if store.read(key) is not None:
            _unfit(store, "a deleted object can still be read")
    except StoreUnfit as error:
        if _WAYS_OUT in str(error):
            raise
        _unfit(store, str(error))
    form = getattr(store, "etag_form", None)
    return {
        "create_if_absent": "refused when present",
        "compare_and_swap": "refused when stale or deleted",
        "if_match": form.__name__.strip("_") if form else "not used",
    }


def _swapped(store: Store, key: str, data: bytes, version: str) -> str:
    try:
        return store.compare_and_swap(key, data, version)
    except Conflict as error:
        _unfit(store, f"it refused a write over the right version ({error})")


def _refused(store: Store, write: Any, what: str) -> None:
    try:
        write()
    except (Conflict, NotFound):
        return
    except (StoreDenied, StoreUnfit):
        raise
    except StoreError as error:
        raise StoreError(f"the store could not be probed: {error}") from error
    _unfit(store, f"it accepted {what}, which it had to refuse")


def _holds(store: Store, key: str, data: bytes, otherwise: str) -> None:
    found = store.read(key)
    if found is None or found.data != data:
        _unfit(store, otherwise)


def _unfit(store: Store, did: str) -> NoReturn:
    raise StoreUnfit(
        f"the store {store.url} cannot keep a run safe, because {did}; two machines could both "
        f"believe that they own a run. {_WAYS_OUT}"
    )
