"""What a user's YAML may say, and what is refused rather than read in another way."""

from typing import Any

import pytest

from mimir import settings_input
from mimir.errors import BadInput


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 5", {"a": 5}), ("a: -0", {"a": 0}), ("a: 1.5e+3", {"a": 1500.0}),
        ("a: .5", {"a": 0.5}), ("a: on", {"a": True}), ("a: ~", {"a": None}),
        ("a: '010'", {"a": "010"}), ("a: 1e-3", {"a": "1e-3"}), ("", None),
        ("a: [1, {b: c}]", {"a": [1, {"b": "c"}]}), ("\ufeffa: 1", {"a": 1}),
    ],
)  # fmt: skip
def test_plain_values(text: str, value: Any) -> None:
    assert settings_input.read(text, "own.yaml") == value
    assert settings_input.read(text.encode(), "own.yaml") == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x: 1\na: 010", "line 2: 010 is 8 to YAML: write what you mean"),
        ("a: 1:30", "1:30 is 90 to YAML"),
        ("a: 1_000", "1_000 is 1000 to YAML"),
        ("a: 0x10", "0x10 is 16 to YAML"),
        *((f"a: {odd}", f"{odd} is neither a plain number nor a word") for odd in (
            "1:30.5", "0x_", "2001-01-01", "2001-99-99", "=",
        )),
        ("a: .inf", "inf is neither"), ("a: .nan", "nan is neither"),
        ("a: 1\nb: 2\na: 3", "line 3: a stands there twice: remove one"),
        ("a: {b: 1, b: 2}", "b stands there twice"),
        ("'a': 1\na: 2", "a stands there twice"),
        ("a: &x 1\nb: *x", "anchors and aliases"),
        ("a: &a [&b [x]]\nb: [*a, *a]", "anchors and aliases"),
        ("<<: {a: 1}", "<< is neither"),
        ("a: !!python/object/apply:os.system [x]", "tags such as"),
        ("a: !!int x", "tags such as"),
        ("[" * 60_000, "more than 8 lists"),
        ("{" * 60_000, "more than 8 lists"),
        ("- " * 30_000, "more than 8 lists"),
        ("a: " + "9" * 5000, "has 5000 digits"),
        ("a: " + "9." * 1 + "9" * 5000, "has 5002 digits"),
        ("a: " + "x" * 70_000, "more than 65,536 bytes"),
        ("a: 'x", "line 1: found unexpected end of stream"),
        ("a: 1\n---\nb: 2", "found another document"),
        ("[1, 2]: 3", "a name is expected before the colon"),
        ("\0", "is not a YAML file"),
        (b"\xff\xfe\0", "byte 0 is not UTF-8"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str | bytes, words: str) -> None:
    with pytest.raises(BadInput, match=words.replace("|", r"\|")) as caught:
        settings_input.read(text, "own.yaml")
    assert str(caught.value).startswith("own.yaml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [("checkpoint_minutes", "90s", 1.5), ("checkpoint_minutes", "0.5h", 30.0),
     ("checkpoint_minutes", 3, 3.0), ("max_hours", "2d", 48.0), ("lr", "1e-3", 1e-3),
     ("lr", "90s", None), ("lr", "0.00_1", None), ("lr", "\u0663", None), ("lr", " 1", None),
     ("lr", "nan", None), ("lr", "infinity", None), ("checkpoint_minutes", "1_0", None),
     ("checkpoint_minutes", "soon", None)],
)  # fmt: skip
def test_a_time_may_have_a_unit(name: str, value: Any, read: float | None) -> None:
    if read is not None:
        assert settings_input.typed(name, value, float) == read
        return
    with pytest.raises(BadInput, match=rf"{name} is .* but must be a number"):
        settings_input.typed(name, value, float)
