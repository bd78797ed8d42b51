"""What a command's options name: the model, its data, and the condition."""

import hashlib
import sys
from pathlib import Path

from mimir.atomic_file import path_of
from mimir.data.pack import TRAIN, load
from mimir.data.peptides import Peptides, of_run
from mimir.errors import BadInput
from mimir.model.denoiser import Denoiser
from mimir.output import device, ensemble
from mimir.output.likeness import Neighbours, texts
from mimir.output.model_file import Opened, from_folder, from_run
from mimir.runs.record import read_run
from mimir.runs.store import open_store
from mimir.submission import default_store, prepare, store_folder


def open_model(run: str, model: str, store: str, *, last: bool = False, on: str = "auto") -> Opened:
    """The model of --run or --model; a warning goes to stderr.

    last: with the weights of its last step, and not the best ones. on: --device.
    """
    if bool(run) == bool(model):
        raise BadInput("give either --run NAME or --model FOLDER")
    where = device.chosen(on)
    if model:
        opened = from_folder(path_of(model, "--model"), last=last)
    else:
        opened = from_run(open_store(store or default_store()), run, last=last)
    if opened.warning:
        print(f"note: {opened.warning}; taken is {opened.source}", file=sys.stderr)
    with device.memory():
        opened.model.to(where)
    return opened


def open_models(
    runs: str, model: str, store: str, *, last: bool = False, on: str = "auto"
) -> list[Opened]:
    """As `open_model`, of several runs as A,B; BadInput if one is named twice, or they were trained
    on different data."""
    if "," not in runs:
        return [open_model(runs, model, store, last=last, on=on)]
    names = [name.strip() for name in runs.split(",")]
    if model or "" in names or len(set(names)) < len(names):
        raise BadInput(f"--run {runs}: name each run once, with commas between, and no --model")
    ensemble.must_share_data(open_store(store or default_store()), names)
    on = device.chosen(on).type  # once, so that a note is told once
    return [open_model(name, "", store, last=last, on=on) for name in names]


def read_by(run: str, model: str, store: str) -> list[tuple[str, Path]]:
    """What `open_model` reads, by option: files that no result may replace."""
    if run and (root := store_folder(store or default_store())):
        return [("--store", root)]
    folder = path_of(model, "--model")
    return [("--model", each) for each in folder.iterdir()] if model and folder.is_dir() else []


def peptides_of(run: str, data: str, store: str, opened: Opened) -> Peptides:
    """The data of --data, else those of the run, else the shipped sample.

    Raises BadInput unless they are, packed, the bytes that the model was trained on: another split
    of the same CSV holds out what the model was trained on.
    """
    if run and not data:
        opened_store = open_store(store or default_store())
        return of_run(opened_store, read_run(opened_store, run))
    peptides = load(prepare("smoke", {}, data).data)
    if peptides.digest != opened.data_sha256:
        wanted = opened.data_sha256[:12] or "not told by its config.json; pull the run again"
        raise BadInput(
            f"{data or 'the shipped sample'} is not the data set that the model was trained on "
            f"(SHA-256 of the packed file {peptides.digest[:12]}, the model's {wanted}), and may "
            "hold out what was trained: give --data the packed file that was trained on, or --run "
            "without --data"
        )
    return peptides


def digest(model: Denoiser) -> str:
    """SHA-256 (hex) of the weights by name, the same for a run and for the folder pulled of it."""
    found = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def training_pairs(peptides: Peptides) -> Neighbours:
    """The training pairs, to which others are compared."""
    rows = peptides.subset(TRAIN, 1)
    return Neighbours(texts(peptides.tokens, peptides.offsets, rows))
