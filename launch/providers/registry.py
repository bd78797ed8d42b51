"""Providers by name: a row each. One is imported when it is first asked for, so `--help` is quick.

A new provider is a new folder beside this file and a row here.
"""

import functools
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from launch.contract.provider import Provider
from mimir.errors import BadInput
from mimir.text import alternatives, nearest

if TYPE_CHECKING:
    from launch.providers.rented import Rented


@dataclass(frozen=True)
class Row:
    """A provider.

    where: "module:Class". rents: the class is a Cloud, an adapter of a service whose machines
    cost money; Rented makes a provider of it. Otherwise the class is a Provider. needs: what to
    do if the module cannot be imported.
    """

    where: str
    rents: bool = False
    needs: str = "it needs nothing beyond Mimir"


_HTTPX = "pip install httpx"
ROWS: dict[str, Row] = {
    "local": Row("launch.providers.local.provider:LocalProvider"),
    "docker": Row("launch.providers.docker.provider:DockerProvider"),
    "colab": Row("launch.providers.colab.provider:ColabProvider"),
    "slurm": Row("launch.providers.slurm.provider:SlurmProvider"),
    "runpod": Row("launch.providers.runpod.adapter:RunPod", rents=True, needs=_HTTPX),
    "vastai": Row("launch.providers.vastai.adapter:Vast", rents=True, needs=_HTTPX),
    "lambda": Row("launch.providers.lambda_cloud.adapter:Lambda", rents=True, needs=_HTTPX),
    "aws": Row("launch.providers.aws.adapter:Aws", rents=True, needs="pip install boto3"),
    "gcp": Row("launch.providers.gcp.adapter:Gcp", rents=True, needs=_HTTPX),
}


def names() -> tuple[str, ...]:
    """All providers, in the order in which they are listed to people."""
    return tuple(ROWS)


def renting() -> tuple[str, ...]:
    """Those that rent machines by the hour."""
    return tuple(name for name, row in ROWS.items() if row.rents)


def several(words: str) -> tuple[str, ...]:
    """The names in "A,B", or for "any" all that rent and have a key here.

    Raises:
        BadInput: one is unknown, or "any" finds no key.
    """
    if words != "any":
        wanted = tuple(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))
        for name in wanted or ("",):
            if name not in ROWS:
                raise BadInput(f"there is no provider {name!r}{nearest(name, (*ROWS, 'any'))}")
        return wanted
    found = tuple(name for name in renting() if rented(name).cloud.configured())
    if not found:
        variables = alternatives(rented(name).cloud.key_variable for name in renting())
        raise BadInput(
            f"no provider that rents has a key here: set {variables} (docs/providers.md says how "
            "to make one)"
        )
    return found


def rented(name: str) -> "Rented":
    """A provider that rents; BadInput for any other."""
    from launch.providers.rented import Rented

    found = get(name)
    if not isinstance(found, Rented):
        raise BadInput(f"provider {name} rents nothing: name one of {', '.join(renting())}")
    return found


@functools.cache
def get(name: str) -> Provider:
    """The provider of this name, one and the same at every call.

    Raises:
        BadInput: there is none (the nearest name is given), or it needs a package.
    """
    if name not in ROWS:
        raise BadInput(f"there is no provider {name!r}{nearest(name, ROWS)}")
    row = ROWS[name]
    module, _, attribute = row.where.partition(":")
    try:
        made = getattr(importlib.import_module(module), attribute)()
        if row.rents:
            from launch.providers.rented import Rented

            return Rented(made)
        return cast(Provider, made)
    except ImportError as error:
        raise BadInput(f"provider {name} cannot be used here ({error}): {row.needs}") from error
