"""Providers by name. One is imported when it is first asked for, so that `--help` is quick."""

import functools
import importlib
from typing import TYPE_CHECKING, cast

from launch.contract.provider import Provider
from mimir.cli import nearest
from mimir.errors import BadInput

if TYPE_CHECKING:
    from launch.providers.rented import Rented

_KNOWN = {
    "local": ("launch.providers.local.provider:LocalProvider", "it needs nothing beyond Mimir"),
    "docker": ("launch.providers.docker.provider:DockerProvider", "it needs nothing beyond Mimir"),
    "colab": ("launch.providers.colab.provider:ColabProvider", "it needs nothing beyond Mimir"),
    "runpod": ("launch.providers.runpod.adapter:RunPod", "pip install httpx"),
    "vastai": ("launch.providers.vastai.adapter:Vast", "pip install httpx"),
    "lambda": ("launch.providers.lambda_cloud.adapter:Lambda", "pip install httpx"),
}
"""name -> (where its class is, what to install if it cannot be imported)"""
CLOUDS = ("runpod", "vastai", "lambda")
"""Those whose class is an adapter (a Cloud): Rented makes a provider of it."""


def names() -> tuple[str, ...]:
    return tuple(_KNOWN)


def several(words: str) -> tuple[str, ...]:
    """The names in "A,B", or for "any" all that rent and have a key here.

    Raises:
        BadInput: one is unknown, or "any" finds no key.
    """
    if words != "any":
        wanted = tuple(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))
        for name in wanted or ("",):
            if name not in _KNOWN:
                raise BadInput(f"there is no provider {name!r}{nearest(name, (*_KNOWN, 'any'))}")
        return wanted
    found = tuple(name for name in CLOUDS if rented(name).cloud.configured())
    if not found:
        raise BadInput(
            "no provider that rents has a key here: set RUNPOD_API_KEY, VAST_API_KEY or "
            "LAMBDA_API_KEY (docs/providers.md says how to make one)"
        )
    return found


def rented(name: str) -> "Rented":
    """A provider that rents; BadInput for any other."""
    from launch.providers.rented import Rented

    found = get(name)
    if not isinstance(found, Rented):
        raise BadInput(f"provider {name} rents nothing: name one of {', '.join(CLOUDS)}")
    return found


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
        made = getattr(importlib.import_module(module), attribute)()
        if not hasattr(made, "start"):  # an adapter of a service, a Cloud
            from launch.providers.rented import Rented

            return Rented(made)
        return cast(Provider, made)
    except ImportError as error:
        raise BadInput(f"provider {name} cannot be used here ({error}): {hint}") from error
