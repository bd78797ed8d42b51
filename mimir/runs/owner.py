"""_launcher/owner.json: whose machines these are, where several stores share an account.

A random id, created once in a store and borne by the name of each machine that is rented for it. A
service shows all machines of its account alike, and two stores may have runs of the same name; by
the id each ends its own machines only. No machine's keys reach the object.
"""

import re
import secrets
from dataclasses import asdict, dataclass

from mimir.errors import Corrupt
from mimir.runs import codec, layout
from mimir.runs.store import Store, create_once

FORMAT = 1
DIGITS = 8
"""Hexadecimal digits of an id: few enough for the names that services take."""


@dataclass(frozen=True)
class Owner:
    """id: of a store."""

    id: str

    def __post_init__(self) -> None:
        if not re.fullmatch(f"[0-9a-f]{{{DIGITS}}}", self.id):
            raise Corrupt(f"the id is {self.id!r} instead of {DIGITS} hexadecimal digits")


def read(store: Store) -> str:
    """The store's id, "" if it has none yet. Corrupt if it is damaged."""
    key = layout.OWNER
    found = store.read(key)
    if found is None:
        return ""
    return codec.typed(Owner, codec.unsealed(found.data, FORMAT, key), key).id


def identify(store: Store) -> str:
    """The store's id, made now if it has none yet."""
    known = read(store)
    if known:
        return known
    made = Owner(secrets.token_hex(DIGITS // 2))
    create_once(store, layout.OWNER, codec.sealed(asdict(made), FORMAT))
    return read(store)
