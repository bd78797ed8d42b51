"""Providers by name: a row each. One is imported when it is first asked for, so `--help` is quick.

A new provider is a new folder beside this file and a row here.
"""

import functools
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from launch.contract.provider import Provider
from mimir.errors import BadInput
from mimir.runs.orders import BY_HAND, TERMINAL
from mimir.text import alternatives, nearest

if TYPE_CHECKING:
    from launch.providers.rented import Rented


@dataclass(frozen=True)
class Row:
    """A provider.

    where: "module:Class". rents: the class is a Cloud, an adapter of a service whose machines
    cost money; Rented makes a provider of it. Otherwise the class is a Provider. own: its machines
    are the user's own computer. needs: what to do if the module cannot be imported. reads:
    environment variables that it works with beside its key's, MIMIR_… and the store's: their
    names, or with "_" at the end what names begin with.
    """

    where: str
    rents: bool = False
    own: bool = False
    needs: str = "it needs nothing beyond Mimir"
    reads: tuple[str, ...] = ()


ANY = "any"
"""In place of names: all that rent and have a key here."""
_HTTPX = "pip install httpx"
_GOOGLE = ("CLOUDSDK_CONFIG", "GOOGLE_APPLICATION_CREDENTIALS")
ROWS: dict[str, Row] = {
    "local": Row("launch.providers.local.provider:LocalProvider", own=True),
    "docker": Row("launch.providers.docker.provider:DockerProvider", own=True),
    "colab": Row(
        "launch.providers.colab.provider:ColabProvider", reads=("COLAB_CLI_PATH", *_GOOGLE)
    ),
    "slurm": Row("launch.providers.slurm.provider:SlurmProvider", reads=("SLURM_CONF",)),
    "runpod": Row("launch.providers.runpod.adapter:RunPod", rents=True, needs=_HTTPX),
    "vastai": Row("launch.providers.vastai.adapter:Vast", rents=True, needs=_HTTPX),
    "lambda": Row("launch.providers.lambda_cloud.adapter:Lambda", rents=True, needs=_HTTPX),
    "aws": Row(
        "launch.providers.aws.adapter:Aws", rents=True, needs="pip install boto3", reads=("AWS_",)
    ),
    "gcp": Row("launch.providers.gcp.adapter:Gcp", rents=True, needs=_HTTPX, reads=_GOOGLE),
}


def names() -> tuple[str, ...]:
    """All providers, in the order in which they are listed to people."""
    return tuple(ROWS)


def renting() -> tuple[str, ...]:
    """Those that rent machines by the hour."""
    return tuple(name for name, row in ROWS.items() if row.rents)


def variables() -> tuple[str, ...]:
    """What all providers read of the environment, their keys' variables too, as in Row.reads."""
    keys = (rented(name).cloud.key_variable for name in renting())
    return (*keys, *(variable for row in ROWS.values() for variable in row.reads))


def is_own(name: str) -> bool:
    """Whether a machine with this provider on record is the user's own computer."""
    return name == TERMINAL or (name in ROWS and ROWS[name].own)


def check_on_record(name: str) -> None:
    """BadInput, with the nearest name, unless machines of runs may have this provider on record."""
    known = (*ROWS, *BY_HAND)
    if name not in known:
        raise BadInput(f"there is no provider {name!r}{nearest(name, known)}")


def several(words: str) -> tuple[str, ...]:
    """The names in "A,B", or for ANY all that rent and have a key here.

    Raises:
        BadInput: one is unknown, or ANY is one of several or finds no key.
    """
    wanted = tuple(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))
    if wanted != (ANY,):
        if ANY in wanted:
            raise BadInput(
                f"{ANY!r} stands alone, for every provider that rents and has a key here: name "
                f"those that you mean instead, or give --provider {ANY}"
            )
        for name in wanted or ("",):
            if name not in ROWS:
                raise BadInput(f"there is no provider {name!r}{nearest(name, (*ROWS, ANY))}")
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
