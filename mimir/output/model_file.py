"""Opens the model of a run (finished or not) or of a pulled folder."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from mimir.config import CHECKPOINT_COPIES, MODEL_COPIES, Config
from mimir.data import files
from mimir.data.composition import Composition
from mimir.data.peptides import Peptides, of_run
from mimir.errors import BadInput, Corrupt, NotFound
from mimir.model.denoiser import Denoiser
from mimir.output import export, model_object, target_table, vocabulary
from mimir.output.folder import FORMAT as FOLDER_FORMAT
from mimir.runs import codec, final
from mimir.runs.head import Head, Kept
from mimir.runs.record import read_run
from mimir.runs.status import read_head
from mimir.runs.store import Store
from mimir.text import near
from mimir.training import checkpoint


@dataclass(frozen=True)
class Opened:
    """A model with the best EMA weights, or the last ones, and what its numbers mean."""

    model: Denoiser
    config: Config
    vocabulary: vocabulary.Vocabulary
    composition: Composition | None
    """Of its targets, in the vocabulary's order; None if it was trained without."""
    data_sha256: str
    """Digest of the packed data that it was trained on; "" if a folder does not tell it."""
    source: str
    """For people: which weights of which state of which run these are."""
    warning: str = ""
    """A sentence on what newer could not be used, or ""."""

    def trained_target(self, name: str) -> int | None:
        """Index of a target protein by name; None if the model was trained on no pair of it.

        Raises BadInput that offers the nearest names.
        """
        known = self.vocabulary.targets
        if name not in known:
            meant = near(name, known)
            hint = f"; near are {', '.join(meant)}" if meant else ""
            raise BadInput(
                f"target {name!r} is not among the {len(known)} of this model{hint}; another "
                "protein can be given by --target-sequence"
            )
        index = known.index(name)
        return index if self.vocabulary.pairs[index] else None


def from_folder(folder: Path, *, last: bool = False) -> Opened:
    """A pulled model. Raises BadInput if a file is missing, Corrupt if one is damaged.

    last: the last weights, and not the best.
    """
    found = {}
    for name in (model_object.FILE, "config.json", "vocabulary.json", target_table.FILE):
        path = folder / name
        if not path.is_file():
            raise BadInput(
                f"{folder} holds no {name}; give the folder that `python -m launch pull` made"
            )
        found[name] = files.read(path, name)
    body = codec.unsealed(found["config.json"], FOLDER_FORMAT, f"{folder}: config.json")
    digest = str(body.pop("data_sha256", ""))
    for name in ("mimir", "run", "step"):
        body.pop(name, None)
    words = vocabulary.decode(found["vocabulary.json"], f"{folder}: vocabulary.json")
    config = Config.from_dict(body)
    model = export.denoiser(found[model_object.FILE], config, words.no_target, last=last)
    table = target_table.decode(
        found[target_table.FILE], words.no_target, f"{folder}: {target_table.FILE}"
    )
    source = f"{folder}, {'last' if last else 'best'} weights"
    return Opened(model, config, words, _used(config, table), digest, source)


def _used(config: Config, composition: Composition) -> Composition | None:
    """The composition if the model was trained with it."""
    told = config.objective.composition == "on" and composition.own.any()
    return composition if told else None


def from_run(store: Store, run: str, *, last: bool = False) -> Opened:
    """The model of a run: what it left if it is done, else what its newest checkpoint holds.

    What cannot be used is passed over for the newest that can, with a warning.

    last: the last averaged weights, and not the best so far.

    Raises:
        BadInput: there is no such run, or it has no checkpoint yet.
        Corrupt: nothing of it can be used.
    """
    head = final.read(store, run) or read_head(store, run)
    if head.model is None:
        return _from_checkpoint(store, run, head, last)
    stored = head.model
    try:
        config, peptides = _submitted(store, run)
        config.check_size(stored.key, stored.size, MODEL_COPIES)
        content = store.get(stored.key, size=stored.size, sha256=stored.sha256)
        told = model_object.record_in(content, stored.key)
        words = vocabulary.of(peptides)
        model = export.denoiser(content, config, words.no_target, last=last)
        composition = _used(config, peptides.composition)
        source = f"run {run}, finished at step {head.step}, {_which(told.best_step, last)}"
        return Opened(model, config, words, composition, peptides.digest, source)
    except (Corrupt, NotFound) as error:
        if not head.kept:
            raise
        warning = f"the model of run {run} cannot be used: {error}"
    found = _from_checkpoint(store, run, head, last)
    return replace(found, warning="; ".join(filter(None, (warning, found.warning))))


def _which(best_step: int, last: bool) -> str:
    """Which weights these are, for people."""
    return "last weights" if last or best_step < 0 else f"best weights (step {best_step})"


def _from_checkpoint(store: Store, run: str, head: Head, last: bool) -> Opened:
    if not head.kept:
        raise BadInput(f"run {run} has no checkpoint yet; see `python -m launch status {run}`")
    config, peptides = _submitted(store, run)
    kept, tensors, best_step, warning = _newest(store, head, config, peptides.digest)
    prefix = "ema." if last or best_step < 0 else "best."
    weights = {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
    words = vocabulary.of(peptides)
    model = export.denoiser(save(weights), config, words.no_target)
    state = "at its last checkpoint" if head.state == "done" else "unfinished"
    if not kept.step:
        untrained = f"run {run} has committed no step yet, so these weights know nothing"
        warning = "; ".join(filter(None, (warning, untrained)))
    composition, source = _used(config, peptides.composition), f"run {run}, {state}, at step"
    source += f" {kept.step}, {_which(best_step, last)}"
    return Opened(model, config, words, composition, peptides.digest, source, warning)


def _newest(
    store: Store, head: Head, config: Config, data_sha256: str
) -> tuple[Kept, dict[str, Tensor], int, str]:
    """The newest checkpoint that can be read: its place in HEAD, its tensors, the step of its best
    weights (-1: none), and a warning if it is not the newest one."""
    wrong = ""
    for kept in reversed(head.kept):
        try:
            config.check_size(kept.key, kept.size, CHECKPOINT_COPIES)
            content = store.get(kept.key, size=kept.size, sha256=kept.sha256)
            tensors = checkpoint.decode(content, config.sha256(), data_sha256)[1]
            return kept, tensors, _best_step(tensors, kept.step), wrong
        except (Corrupt, NotFound) as error:
            # A commit may have replaced what HEAD named a moment ago.
            wrong = wrong or f"checkpoint of step {kept.step} cannot be used: {error}"
    raise Corrupt(f"no checkpoint of run {head.run} can be read: the newest, {wrong}; restore one")


def _best_step(tensors: dict[str, Tensor], step: int) -> int:
    """Step of a checkpoint's best weights, -1 if it has none. Corrupt if it is no such step."""
    found = tensors.get("loop.best_step")
    if found is None or found.shape != () or found.dtype != torch.int64:
        raise Corrupt("its loop.best_step is not one 64-bit integer")
    best = int(found)
    if not -1 <= best <= step:
        raise Corrupt(f"its loop.best_step is {best}, but must be from -1 to {step}")
    return best


def _submitted(store: Store, run: str) -> tuple[Config, Peptides]:
    """What the run trains, as it was submitted: no machine has a say in it."""
    record = read_run(store, run)
    return Config.from_dict(record.config), of_run(store, record)
