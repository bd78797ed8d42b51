"""Documents as nobody should have written them: every kind of damage, drawn from a seed."""

import json
import random
from collections.abc import Callable
from typing import Any

from mimir.runs import layout
from mimir.runs.store import Store

RAW = [
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 400, "-1", "0", "1", "2", "-0.0",
    "1e308", "5e-324", "9007199254740993", "18446744073709551616", "99999999999999999999999",
    "1.5", "true", "false", "null", '""', '"x"', '"NaN"', '"1"', "[]", "{}", "[[]]", '[["a",1]]',
    "[1,2]", '{"a":1}', '"' + "x" * 100_000 + '"', '"\\ud800"',
    '"\\u202e\\u0000\\u001b]52;c;x\\u0007"', '"../../etc/passwd"', '"other/HEAD"', '"/"',
    '"\u2028\x7f"', "[" * 100_000 + "]" * 100_000, '{"a":' * 5_000 + "1" + "}" * 5_000,
    "[" + "0," * 50_000 + "0]", '{"a":1,"a":2}', "+1", "01", "0x10", "'x'", "", "undefined", "1e",
    '"\\x"', "\u0661",
]  # fmt: skip
"""What may stand in a value's place, as text: much of it is no JSON."""

MUCH = (1 << 20) + 9
"""Bytes: more than a document may have."""

_HERE = "\x00here\x00"


def _value(data: bytes, rng: random.Random) -> bytes:
    """Another value in one place."""
    body = json.loads(data)
    _in_some_place(body, rng, lambda inside, at: inside.__setitem__(at, _HERE))
    return _text(body).replace(json.dumps(_HERE), rng.choice(RAW)).encode()


def _missing(data: bytes, rng: random.Random) -> bytes:
    body = json.loads(data)
    _in_some_place(body, rng, lambda inside, at: inside.__delitem__(at))
    return _text(body).encode()


def _extra(data: bytes, rng: random.Random) -> bytes:
    body = json.loads(data)
    name = rng.choice(["", "new", "format ", "__class__", "details", "\u202ename", "x" * 5_000])
    body[name] = rng.choice([1, None, "x", [1], {"a": {"b": []}}])
    return _text(body).encode()


def _format(data: bytes, rng: random.Random) -> bytes:
    body = json.loads(data)
    body["format"] = rng.choice([0, 2, -1, 99, "1", None, True, 1.0, [1], 10**9])
    return _text(body).encode()


def _twice(data: bytes, rng: random.Random) -> bytes:
    name, value = rng.choice(list(json.loads(data).items()))
    return f"{{{json.dumps(name)}:{json.dumps(value)},".encode() + data.lstrip()[1:]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _flipped(data: bytes, rng: random.Random) -> bytes:
    spoiled = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 20])):
        spoiled[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(spoiled)


def _whole(data: bytes, rng: random.Random) -> bytes:
    """Something else altogether, or far too much."""
    much = b" " * MUCH
    return rng.choice([
        b"", b"\n", b"null", b"[]", b"{}", b'"x"', b"7", b"\xff\xfe\x00", b"\x00" * 5_000,
        data.decode().encode("utf-16"), b"\xef\xbb\xbf" + data, data * 2, data + b"x",
        much + data, data + much, b"[" * 300_000, b'{"a":' * 200_000, b'"' * 200_000,
        b"{" + b'"a":1,' * 100_000, rng.randbytes(200),
    ])  # fmt: skip


def _in_some_place(body: Any, rng: random.Random, act: Callable[[Any, Any], None]) -> None:
    places = list(_places(body))
    act(*rng.choice(places))


def _places(inside: Any) -> Any:
    for at in list(inside) if isinstance(inside, dict) else range(len(inside)):
        yield inside, at
        if isinstance(inside[at], (dict, list)):
            yield from _places(inside[at])


def _text(body: Any) -> str:
    return json.dumps(body, separators=(",", ":"))


KINDS = {
    "value": _value, "missing": _missing, "extra": _extra, "format": _format, "twice": _twice,
    "cut": _cut, "flipped": _flipped, "whole": _whole,
}  # fmt: skip
_WEIGHTS = [12, 3, 2, 2, 1, 2, 3, 3]


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The document with one kind of damage. One of JSON lines is damaged in one of its lines;
    of what is no JSON, as a log is, bytes are cut or flipped."""
    kind = rng.choices(list(KINDS.values()), _WEIGHTS)[0]
    lines = data.split(b"\n")
    at = rng.randrange(max(1, len(lines) - 1))
    try:
        json.loads(lines[at])
    except ValueError:
        return rng.choice([_cut, _flipped, lambda *_: b"", lambda *_: bytes(MUCH)])(data, rng)
    if len(lines) <= 2 or kind in (_whole, _cut, _flipped):
        return kind(data, rng)
    return b"\n".join([*lines[:at], kind(lines[at], rng), *lines[at + 1 :]])


def wreck(store: Store, run: str, body: bytes) -> None:
    """What a machine may do to HEAD: these bytes in its place, or nothing for b""."""
    if body:
        store.put(layout.head_key(run), body)
    else:
        store.delete(layout.head_key(run))
