"""What is read back is checked before it is parsed, while it is, and field by field."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest

from mimir.errors import BadInput, Corrupt
from mimir.runs import codec
from mimir.runs.ranges import TEXT, Between, OneOf, Step


@dataclass(frozen=True)
class Inner:
    name: str


@dataclass(frozen=True)
class Kind:
    step: Step
    share: Annotated[float, Between(0, 1)] = 0.5
    word: Annotated[str, OneOf(("a", "b"))] = "a"
    on: bool = False
    maybe: Step | None = None
    pairs: tuple[tuple[int, int], ...] = ()
    inner: Inner | None = None
    figures: dict[str, Step] = field(default_factory=dict)
    plain: dict[str, Any] = field(default_factory=dict)


def test_all_kinds_of_fields() -> None:
    value = codec.decode(
        b'{"step":3,"share":1,"word":"b","on":true,"maybe":null,"pairs":[[1,2],[3,4]],'
        b'"inner":{"name":"x"},"figures":{"f":1},"plain":{"y":[null]}}',
        "it",
    )
    assert codec.typed(Kind, value, "it") == Kind(
        3, 1.0, "b", True, None, ((1, 2), (3, 4)), Inner("x"), {"f": 1}, {"y": [None]}
    )
    assert codec.typed(Kind, {"step": 0}, "it") == Kind(0)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({}, "it lacks a field: step"),
        ({"step": True}, "it: step is True, but must be of type int"),
        ({"step": 1.0}, "step is 1.0"),
        ({"step": None}, "step is None"),
        ({"step": -1}, "step is -1, but must be from 0"),
        ({"step": 10**13}, "step is 10000000000000, but must be from 0"),
        ({"step": 1, "share": 1.5}, "share is 1.5, but must be from 0 to 1"),
        ({"step": 1, "share": "x"}, "share is 'x', but must be of type float"),
        ({"step": 1, "share": True}, "share is True"),
        ({"step": 1, "word": "c"}, "word is 'c', but must be one of 'a', 'b'"),
        ({"step": 1, "word": "x" * (TEXT + 1)}, f"word has {TEXT + 1} characters"),
        ({"step": 1, "on": 1}, "on is 1, but must be of type bool"),
        ({"step": 1, "pairs": [[1]]}, "pairs has 1 values where 2 were expected"),
        ({"step": 1, "pairs": [1]}, "pairs is 1, but must be of type tuple"),
        ({"step": 1, "inner": {}}, "it: inner lacks a field: name"),
        ({"step": 1, "inner": []}, "inner is"),
        ({"step": 1, "figures": {"f": 0.5}}, "f' is 0.5, but must be of type int"),
        ({"step": 1, "plain": 5}, "plain is 5, but must be of type dict"),
        ({"step": 1, "\x1b[2J": 5}, r"not known: '\\x1b\[2J'"),
    ],
)
def test_what_does_not_fit(value: dict[str, Any], says: str) -> None:
    with pytest.raises(Corrupt, match=says):
        codec.typed(Kind, value, "it")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"a":NaN}', "NaN is no number"),
        (b'{"a":-Infinity}', "-Infinity is no number"),
        (b'{"a":1e999}', "1e999 is infinite"),
        (b'{"a":' + b"1" * 400 + b"}", "a whole number of 400 digits"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested more than 32 deep"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "nested more than 32 deep"),
        (b'{"a":1,"b":2,"a":3}', "the name 'a' stands twice"),
        (b'{"a":"\\ud800"}', "half a surrogate pair"),
        (b'{"\\udc00":1}', "half a surrogate pair"),
        (b'{"a":"\xff"}', "is not JSON"),
        (b'["a"]', "holds a JSON list"),
        (b'"' + b'\\"' * 200_000 + b"[" * 40, "is not JSON"),
        (b"", "is not JSON"),
    ],
)
def test_what_is_no_document(data: bytes, says: str) -> None:
    with pytest.raises(Corrupt, match=says) as caught:
        codec.decode(data, "it")
    assert len(str(caught.value)) < 200


def test_what_only_looks_deep_is_read() -> None:
    flat = [[], {}] * 1000
    value = {"text": '["' * 100, "list": flat, "pair": "\U0001f600"}
    assert codec.decode(codec.encode(value), "it") == value
    assert codec.decode(b'{"pair":"\\ud83d\\ude00"}', "it") == {"pair": "\U0001f600"}
    deep: Any = 1
    for _ in range(codec.DEEPEST - 1):
        deep = [deep]
    assert codec.decode(codec.encode({"a": deep}), "it") == {"a": deep}


@pytest.mark.parametrize(
    ("found", "error", "says"),
    [
        (3, BadInput, "written by a newer Mimir, update this one"),
        (1, BadInput, "written by an older Mimir"),
        (None, Corrupt, "no format number"),
        (True, Corrupt, "no format number"),
        ("2", Corrupt, "no format number"),
        (-2, Corrupt, "no format number"),
    ],
)
def test_other_formats(found: Any, error: type[Exception], says: str) -> None:
    codec.check_format({"format": 2}, 2, "it")
    with pytest.raises(error, match=says):
        codec.check_format({"format": found}, 2, "it")
