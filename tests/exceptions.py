"""An instance of every exception class that a library defines, made without knowing the class."""

import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

SECRET = "hunter2hunter2\nsecond line"
"""Stands in each of them wherever a text can stand."""


_ARGUMENTS: tuple[tuple[Any, ...], ...] = (
    (), (SECRET,), (None, SECRET), (None, SECRET, "x"), (None, None, "x"),
    ("x", [ValueError(SECRET)]), ({"Error": {"Message": SECRET}}, "GetObject"),
)  # fmt: skip


class _Any(dict[str, Any]):
    """Keyword arguments for a format of which nothing is known."""

    def __missing__(self, key: str) -> str:
        return SECRET


def classes(*modules: ModuleType) -> list[type[Exception]]:
    """All exception classes that are to be found in the modules, warnings left out, by name."""
    found = {
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Exception)
        and not issubclass(value, Warning)
    }
    return sorted(found, key=lambda each: (each.__module__, each.__qualname__))


def instances(kind: type[Exception]) -> Iterator[Exception]:
    """One instance for each way of making it that works; at least one."""
    made = 0
    for arguments in _ARGUMENTS:
        try:
            error = kind(*arguments)
            str(error)
        except Exception:  # noqa: BLE001 - then this is no way to make it
            continue
        made += 1
        yield error
    form = getattr(kind, "fmt", "")
    if form:
        error = kind.__new__(kind)
        text = form.format_map(_Any())
        Exception.__init__(error, text)
        error.kwargs = {"error": text, "provider": text}  # type: ignore[attr-defined]
        made += 1
        yield error
    if not made:
        error = kind.__new__(kind)
        error.args = (SECRET,)
        yield error
