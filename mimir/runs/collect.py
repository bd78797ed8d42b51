"""Collects garbage: checkpoints of abandoned attempts that no HEAD names.

An attempt deletes only what its own commits removed. What it uploaded and never committed,
and what it had committed when a later attempt's retention dropped it, stays until here.
Safe without a lock: HEAD's attempt never goes back, and only the attempt at HEAD can add to
`kept`, only keys of its own; so a key of an older attempt that HEAD does not name now is
never named again.
"""

import logging
from collections.abc import Callable

from mimir.errors import StoreError
from mimir.runs import layout
from mimir.runs.head import look
from mimir.runs.store import Store

_log = logging.getLogger(__name__)


def try_collect(store: Store, run: str, say: Callable[[str], None]) -> None:
    """Collect, or say why not: what is left behind costs space and nothing else."""
    try:
        collect(store, run, say)
    except StoreError as error:
        say(f"what older attempts left is not swept away: {error}")


def collect(store: Store, run: str, say: Callable[[str], None] = _log.warning) -> list[str]:
    """Delete those checkpoints; their keys. Failed deletions are said and left for next time."""
    found = look(store, run)
    if found is None:
        return []
    head, _ = found
    named = {kept.key for kept in head.kept}
    deleted = []
    for key in list(store.list(f"{run}/a")):
        parsed = layout.parse_checkpoint(run, key)
        if parsed is None or parsed[0] >= head.attempt or key in named:
            continue
        try:
            store.delete(key)
            deleted.append(key)
        except StoreError as error:
            say(f"could not delete {key}: {error}")
    return deleted
