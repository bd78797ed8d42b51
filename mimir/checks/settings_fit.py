"""Refuses a run whose settings ask for what this computer does not have, before it is entered.

A process of its own tries, because commands do not import torch.
"""

import json
from collections.abc import Mapping

from mimir.checks.child import tried
from mimir.config import Config
from mimir.errors import BAD_CONFIG, BadInput

TRIAL = "mimir.checks.settings_trial"
"""The module that the process runs: it prints what is wrong, and ends with BAD_CONFIG."""


def must_fit(config: Config, run: str = "", extra: Mapping[str, str] | None = None) -> None:
    """BadInput if training here would end at its start because of what its settings ask for.

    Without such a setting nothing is tried. A process that fails otherwise refuses nothing.

    Args:
        config: of the run.
        run: name of the run that exists with these settings, "" for one that does not exist yet.
        extra: environment of the worker, beside that of this process.
    """
    wish = config.runtime
    if not (wish.kernels or wish.device == "cuda" or wish.compile == "on"):
        return
    child = tried("-m", TRIAL, given=json.dumps(config.as_dict()).encode(), extra=extra or {})
    said = child.stdout.decode(errors="replace").strip() if child else ""
    if child is None or child.returncode != BAD_CONFIG or not said:
        return
    keeps = f"; run {run} keeps that setting: submit it under another --name" if run else ""
    raise BadInput(said.splitlines()[-1] + keeps)
