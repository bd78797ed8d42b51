"""Refuses a run whose settings ask for what this computer does not have, before it is entered.

A process of its own tries, because commands do not import torch.
"""

import json
from collections.abc import Mapping, Sequence

from mimir.checks.child import tried
from mimir.config import Config
from mimir.errors import BAD_CONFIG, BadInput

TRIAL = "mimir.checks.settings_trial"
"""The module that the process runs: it prints what is wrong with each, and ends with BAD_CONFIG."""


def must_fit(config: Config, run: str = "", extra: Mapping[str, str] | None = None) -> None:
    """BadInput if training here would end at its start because of what its settings ask for.

    Args:
        config: of the run.
        run: name of the run that exists with these settings, "" for one that does not exist yet.
        extra: environment of the worker, beside that of this process.
    """
    (why,) = refusals([config], extra)
    if why:
        raise refused(why, run)


def refused(why: str, run: str) -> BadInput:
    """The error for one of `refusals`. run: as of `must_fit`."""
    keeps = f"; run {run} keeps that setting: submit it under another --name" if run else ""
    return BadInput(why + keeps)


def refusals(configs: Sequence[Config], extra: Mapping[str, str] | None = None) -> list[str]:
    """For each configuration why training here would end at its start, "" if it would not.

    Those that ask for nothing special are not tried. One process tries all others; if it fails
    otherwise, it refuses none.
    """
    wishes = [config.runtime for config in configs]
    asks = [bool(w.kernels or w.device == "cuda" or w.compile == "on") for w in wishes]
    wanted = [config.as_dict() for config, does in zip(configs, asks, strict=True) if does]
    told = iter(_tried(wanted, extra or {}) if wanted else [])
    return [next(told, "") if does else "" for does in asks]


def _tried(wanted: list[dict[str, object]], extra: Mapping[str, str]) -> list[str]:
    child = tried("-m", TRIAL, given=json.dumps(wanted).encode(), extra=extra)
    if child is None or child.returncode != BAD_CONFIG:
        return []
    lines = child.stdout.decode(errors="replace").strip().splitlines()
    try:
        found = json.loads(lines[-1] if lines else "")
    except ValueError:
        return []
    sound = isinstance(found, list) and all(isinstance(why, str) for why in found)
    return found if sound and len(found) == len(wanted) else []
