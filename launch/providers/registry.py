"""Providers by name. One is imported when it is first asked for, so that `--help` is quick."""

import functools
import importlib
from typing import cast

from launch.providers.base import Provider
from mimir.cli import nearest
from mimir.errors import BadInput

_KNOWN = {
    "local": ("launch.providers.local:LocalProvider", "it needs nothing beyond Mimir"),
    "docker": ("launch.providers.docker:DockerProvider", "it needs nothing beyond Mimir"),
}
"""name -> (where its class is, what to install if it cannot be imported)"""


def names() -> tuple[str, ...]:
    return tuple(_KNOWN)


@functools.cache
def get(name: str) -> Provider:
    """The provider of this name, one and the same at every call.

    Raises:
        BadInput: there is none (the nearest name is given), or it needs a package.
    """
    if name not in _KNOWN:
        raise BadInput(f"there is no provider {name!r}{nearest(name, _KNOWN)}")
    path, hint = _KNOWN[name]
    module, _, attribute = path.partition(":")
    try:
        return cast(Provider, getattr(importlib.import_module(module), attribute)())
    except ImportError as error:
        raise BadInput(f"provider {name} cannot be used here ({error}): {hint}") from error
