"""How a rented machine gets its keys: by a link that is dead soon, never by their text.

A service shows a machine's variables to whoever may look at the account, keeps them, and on
some the host reads them. So the keys lie in the store for as long as the machine takes to come
up, and the machine gets a signed link to them. What it fetched it deletes with these very keys
(launch/payload/bootstrap.py); what it did not, `revoke` does.
"""

import secrets

from launch.payload.credentials import Credentials
from mimir.errors import BadInput
from mimir.runs import layout
from mimir.runs.store import Store

LONGEST_LINK = 7 * 24 * 3600.0
"""Seconds that S3 lets a link live."""


def hand_over(store: Store, run: str, attempt: int, keys: Credentials, seconds: float) -> str:
    """Put an attempt's keys into the store; a URL that gives them to anyone for `seconds`.

    Raises as `leave`.
    """
    return leave(store, run, attempt, keys.text().encode(), seconds)


def leave(store: Store, run: str, attempt: int, content: bytes, seconds: float) -> str:
    """Put what an attempt's machine is to fetch into the store; a URL that gives it for `seconds`.

    The link is signed by this computer's keys, and ends with them if they end sooner.

    Raises:
        BadInput: the store is not in S3, or that life is not possible.
        StoreError: the store does not take it.
    """
    from mimir.runs.s3_store import S3Store  # imports boto3, a quarter of a second

    if not isinstance(store, S3Store):
        raise BadInput(f"the store {store.url} needs no keys: they are made for s3:// stores")
    if not 1 <= seconds <= LONGEST_LINK:
        raise BadInput(f"a link to keys cannot live for {seconds:g} s: 1 s to 7 days are possible")
    key = layout.handover_key(run, attempt, secrets.token_hex(16))
    store.put(key, content)
    return store.presign(key, seconds)


def revoke(store: Store, run: str, attempt: int) -> None:
    """Delete what an attempt's machine has not fetched. Its links, if any, are dead then.

    Raises:
        StoreError: the store does not say, or does not do it.
    """
    for key in store.list(layout.handover_prefix(run, attempt)):
        store.delete(key)
