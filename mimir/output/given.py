"""What a command's options name: the model, its data, and the condition."""

import hashlib
import sys
from pathlib import Path

import torch

from mimir.atomic_file import path_of
from mimir.data.pack import load
from mimir.data.peptides import Peptides, of_run
from mimir.errors import BadInput
from mimir.model.denoiser import Denoiser
from mimir.output.condition import Condition, labelled
from mimir.output.model_file import Opened, from_folder, from_run
from mimir.runs.record import read_run
from mimir.runs.store import open_store
from mimir.submission import default_store, prepare, store_folder


def open_model(run: str, model: str, store: str) -> Opened:
    """The model of --run or --model, on the GPU where there is one; a warning goes to stderr."""
    if bool(run) == bool(model):
        raise BadInput("give either --run NAME or --model FOLDER")
    if model:
        opened = from_folder(path_of(model, "--model"))
    else:
        opened = from_run(open_store(store or default_store()), run)
    if opened.warning:
        print(f"note: {opened.warning}; taken is {opened.source}", file=sys.stderr)
    opened.model.to("cuda" if torch.cuda.is_available() else "cpu")
    return opened


def read_by(run: str, model: str, store: str) -> list[tuple[str, Path]]:
    """What `open_model` reads, by option: files that no result may replace."""
    if run and (root := store_folder(store or default_store())):
        return [("--store", root)]
    folder = path_of(model, "--model")
    return [("--model", each) for each in folder.iterdir()] if model and folder.is_dir() else []


def peptides_of(run: str, data: str, store: str, opened: Opened) -> Peptides:
    """The data of --data, else those of the run, else the shipped sample.

    Raises BadInput if they have other targets than the model.
    """
    if run and not data:
        opened_store = open_store(store or default_store())
        return of_run(opened_store, read_run(opened_store, run))
    peptides = load(prepare("smoke", {}, data).data)
    if peptides.vocabulary != opened.vocabulary.targets:
        raise BadInput("the data set's targets are not those that the model was trained with")
    return peptides


def condition_of(opened: Opened, label: str, target: str) -> Condition:
    """The condition of --label and --target; untrained targets become none, with a note.

    Raises BadInput for an unknown label or target, or for both where they exclude each other.
    """
    condition = labelled(label, target)
    if not target:
        return condition
    index = opened.trained_target(target)
    if index is None:
        print(
            f"note: the model was trained on no pair of {target}: to it this is the same as no "
            "target",
            file=sys.stderr,
        )
        return condition
    return Condition(condition.label, index, target)


def digest(model: Denoiser) -> str:
    """SHA-256 (hex) of the weights by name, the same for a run and for the folder pulled of it."""
    found = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
