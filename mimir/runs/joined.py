"""Keeps all parts of an attempt's log or metrics in one object, once no more will come.

An attempt that trains for a night leaves thousands of parts, each a request. Whoever has read all
parts of an attempt whose machine was seen to be gone writes them down as one object, where no
machine can write (layout.joined_key). It is a copy of what a machine wrote, as little to be
trusted as the parts, which stay: it is made anew where it is missing, and made by two at once it
is the same.

    {"format":1,"parts":[[1,120],[2,98]]}       numbers, and bytes of the text of each
    the texts, one after another
"""

import contextlib
from collections.abc import Sequence

from mimir.errors import Corrupt, MimirError, StoreError
from mimir.runs import codec, layout, notes
from mimir.runs.attempts import SETTLED
from mimir.runs.store import Store

FORMAT = 1
WORTH = 32
"""Parts from which on they are joined: fewer are read at once."""
MOST = 64 << 20
"""Bytes of text that are joined: a longer log stays in its parts."""
MOST_HEADER = 16 << 20
"""Bytes of the first line, at most."""


def read(store: Store, run: str, attempt: int, kind: str) -> list[tuple[int, str]] | None:
    """(number, text) of all parts of the attempt, from one object; None if there is none."""
    key = layout.joined_key(run, attempt, kind)
    try:
        found = store.read(key, limit=MOST + MOST_HEADER)
        return _split(found.data, key) if found else None
    except Corrupt:
        return None  # it is a copy: the parts are read


class Joiner:
    """Takes the parts of an attempt as they are read, and writes them down as one at the end.

    Make it before the parts are listed.
    """

    def __init__(self, store: Store, run: str, attempt: int, kind: str) -> None:
        self._store, self._run, self._attempt, self._kind = store, run, attempt, kind
        self._texts: list[tuple[int, bytes]] = []
        self._size = 0
        # Before the parts are listed: a reader may take hours, in which the attempt writes more.
        self._over = self._is_over()

    def add(self, number: int, text: str) -> None:
        """The next part."""
        data = text.encode(errors="replace")
        self._size += len(data)
        if self._size <= MOST:
            self._texts.append((number, data))
        else:
            self._texts.clear()

    def finish(self) -> None:
        """All parts were added: write them down, if they are many and no more will come."""
        if len(self._texts) >= WORTH and self._size <= MOST and self._over:
            key = layout.joined_key(self._run, self._attempt, self._kind)
            with contextlib.suppress(StoreError):  # somebody else's is the same; or read-only keys
                self._store.put_if_absent(key, _joined(self._texts))

    def _is_over(self) -> bool:
        try:
            gone = notes.read_gone(self._store, self._run, self._attempt)
            return gone is not None and self._store.now() - gone.time > SETTLED
        except MimirError:
            return False


def _joined(texts: Sequence[tuple[int, bytes]]) -> bytes:
    header = {"format": FORMAT, "parts": [[number, len(text)] for number, text in texts]}
    return codec.encode(header) + b"".join(text for _, text in texts)


def _split(data: bytes, key: str) -> list[tuple[int, str]]:
    header, _, body = data.partition(b"\n")
    told = codec.decode(header, key)
    codec.check_format(told, FORMAT, key, machines=True)
    made, at = [], 0
    try:
        for number, size in told["parts"]:
            made.append((int(number), body[at : at + size].decode(errors="replace")))
            at += size
    except (KeyError, TypeError, ValueError) as error:
        raise Corrupt(f"{key} is no copy of parts: {error}") from error
    if at != len(body):
        raise Corrupt(f"{key} has {len(body)} bytes of text where {at} are named")
    return made
