"""pull: what a run leaves, as files."""

import json as json_text
from typing import TYPE_CHECKING

from mimir.errors import MimirError

if TYPE_CHECKING:
    from pathlib import Path

    from launch.report.download import Download
    from mimir.runs.store import Store


def pull(name: str, *, out: str = "", store: str = "", json: bool = False) -> None:
    """Fetch a run's model, metrics and log into a folder that `sample` and `evaluate` take as well.

    Of an unfinished run, the model has the weights of its newest checkpoint. The report, the
    picture of the loss and TensorBoard's event file are made here.

    Args:
        name: of the run.
        out: a new folder, or that of an earlier pull of the run (default: ./NAME).
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON.

    Example:
        python -m launch pull first --out models/first
    """
    from launch.ui.still_paid import still_paid
    from launch.ui.terminal import say
    from mimir.runs.status import derive
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    opened = open_store(store or default_store())
    gift, folder = fetch(opened, name, out)
    for warning in gift.warnings:
        say(warning)
    try:
        paid = still_paid(derive(opened, name, opened.now()), store)
    except MimirError as error:  # the files are there anyway
        paid = ()
        say(f"whether a machine of run {name} is still paid cannot be told: {error}")
    say(*(each.sentence for each in paid))
    if json:
        body = {
            "run": name,
            "finished": gift.finished,
            "step": gift.step,
            "best_step": gift.best_step if gift.best_step >= 0 else None,
            "out": str(folder.resolve()),
            "files": sorted(gift.files),
            "warnings": [*gift.warnings, *([str(gift.unusable)] if gift.unusable else [])],
            "still_paid": [each.as_json() for each in paid],
        }
        print(json_text.dumps(body, indent=2))
    else:
        _tell(name, gift, folder, store)
    if gift.unusable is not None:  # the other files are there anyway
        raise gift.unusable


def fetch(store: "Store", name: str, out: str) -> "tuple[Download, Path]":
    """Write the run's files into the folder ("": ./NAME); what they are, and the folder.

    Raises:
        BadInput: the folder is not the run's, or has no place for it.
        Corrupt: HEAD or the metrics cannot be used.
    """
    from launch.commands.pull_folder import Folder
    from launch.report.download import collect
    from launch.ui.terminal import Transfers
    from mimir.runs.record import read_run

    record = read_run(store, name)
    target = Folder(out or name, store, record)
    with Transfers() as transfers:
        found = collect(store, record, transfers.begin, target.need)
    target.write(found.files)
    return found, target.path


def _tell(name: str, gift: "Download", folder: "Path", store: str) -> None:
    """Say what was written, and of which step the weights are."""
    from launch.ui.runs import command
    from launch.ui.terminal import say
    from mimir.output import model_object

    print(f"{len(gift.files)} files in {folder}: {', '.join(sorted(gift.files))}")
    has_weights = model_object.FILE in gift.files
    if not gift.finished:
        weights = "there are no weights"
        if has_weights:
            best = f"the best weights in it are of step {gift.best_step}"
            if gift.best_step < 0:
                best = "no validation has chosen the best weights in it, so they are the last"
            weights = f"this is its checkpoint of step {gift.step}; {best}"
        again = command("status", name, store)
        say(f"run {name} is not finished, {weights}; see `{again}`")
    if has_weights:
        say(f"draw peptides: python -m mimir sample --model {folder} -n 10")
