"""Commands by name, and what they are made of."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

Command = Callable[..., Any]
Tree = Mapping[str, "Command | str | Tree"]
"""Commands by name. A text is "module:function", which is imported when it is needed."""


@dataclass(frozen=True)
class Unit:
    """Of an option that is a time: its name, and its seconds. A number without a unit has it."""

    name: str
    seconds: float


Hours = Annotated[float, Unit("hours", 3600.0)]
Minutes = Annotated[float, Unit("minutes", 60.0)]


def loaded(node: "Command | str | Tree") -> "Command | Tree":
    """The command or group itself; one that is named by a text is imported."""
    if not isinstance(node, str):
        return node
    module, _, name = node.partition(":")
    found: Command = getattr(importlib.import_module(module), name)
    return found
