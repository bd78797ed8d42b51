"""Makes what a run begins with from another run: its averaged weights, or its training state.

No torch: the user's own computer does it when the run is submitted, so whatever does not fit is
refused before anything is made. A machine wrote the objects, so their format, configuration and
data are checked here, and each tensor's shape where training begins (mimir/worker/first_state.py).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.config import CHECKPOINT_COPIES, MODEL_COPIES, Config
from mimir.data import files
from mimir.errors import BadInput, Corrupt, NotFound
from mimir.output import model_object
from mimir.output.checkpoint_model import best_in, model_of
from mimir.runs.head import REMOVED, Head, Kept
from mimir.runs.origin import STATE, WEIGHTS, Origin, Start
from mimir.runs.record import RunRecord
from mimir.runs.status import left_head
from mimir.runs.store import Store, Stored

Fetch = Callable[[Stored, str], bytes]
"""Gets an object, checked by its digest; the text names it to the user."""
SHAPE = ("dim", "layers", "heads", "ffn", "timesteps", "composition")
"""Settings that must be equal for weights to mean the same."""
MAY_DIFFER = ("epochs", "max_steps", "patience", "lr", "final_lr", "cooldown_steps")
"""Settings that a run may change when it goes on with another's training state; besides those of
`runtime`. All others decide what a step is, or what the state means."""
TRIES = 3
"""Looks at a run that goes on meanwhile, and drops the checkpoint that its HEAD has just named."""


def weights_of(store: Store, source: RunRecord, step: int | None, fetch: Fetch) -> Start:
    """The averaged weights of a run: the best, or the last where nothing selected any.

    step: of a checkpoint that it keeps, for the averaged weights of that step (None: the best).

    Raises:
        BadInput: it has no such checkpoint, or none at all.
        Corrupt: its object cannot be used.
    """
    config = Config.from_dict(source.config)

    def made(head: Head) -> Start:
        if step is None and head.model is not None:
            stored, ends = head.model, head.step
            config.check_size(stored.key, stored.size, MODEL_COPIES)
            content = fetch(stored, f"model of run {source.name}")
        else:
            kept = _kept(head, step)
            stored, ends = _stored(kept), kept.step
            whole = _content(source, config, kept, fetch)
            content = model_of(whole, kept.key, config, _data(source).sha256)
            _must_be_of_its_step(whole, kept)
        found = model_object.record_in(content, stored.key)
        tensors, _ = files.from_bytes(content, stored.key)
        _must_be_finite(tensors, stored.key)
        last = step is not None
        weights = {
            name.removeprefix(model_object.LAST): value
            for name, value in tensors.items()
            if name.startswith(model_object.LAST) == last
        }
        at = found.best_step if found.best_step >= 0 and not last else ends
        origin = Origin(WEIGHTS, source.name, at, stored.sha256, config.sha256())
        return Start(origin, "weights.safetensors", model_object.encode(weights, []))

    return _of_newest_head(store, source, made)


def state_of(store: Store, source: RunRecord, step: int | None, fetch: Fetch) -> Start:
    """The whole training state of a run: its newest checkpoint's, or that of a step. Raises as
    `weights_of`."""
    config = Config.from_dict(source.config)

    def made(head: Head) -> Start:
        kept = _kept(head, step)
        content = _content(source, config, kept, fetch)
        model_of(content, kept.key, config, _data(source).sha256)  # refuses what is none
        _must_be_of_its_step(content, kept)
        best_step, best = best_in(content, kept.key)
        origin = Origin(STATE, source.name, kept.step, kept.sha256, config.sha256(),
                        best_step=best_step, best=best)  # fmt: skip
        return Start(origin, "state.safetensors", content)

    return _of_newest_head(store, source, made)


def must_have_its_shape(source: RunRecord, config: Config) -> None:
    """BadInput unless the weights of a run fit this configuration."""
    differing = _differing(Config.from_dict(source.config), config, SHAPE)
    if differing:
        told = ", ".join(f"{name} {had} and not {now}" for name, had, now in differing)
        words = " ".join(f"--{name} {had}" for name, had, _ in differing)
        raise BadInput(
            f"the weights of run {source.name} do not fit this model: run {source.name} has "
            f"{told}; say {words}, or leave the preset out to have its configuration"
        )


def must_know_its_targets(source: RunRecord, its: Sequence[str], now: Sequence[str]) -> None:
    """BadInput unless both data sets have the same targets, in one order: weights are of them."""
    if list(its) != list(now):
        raise BadInput(
            f"the weights of run {source.name} do not fit this data: it was trained on "
            f"{len(its):,} targets, and this data set has {len(now):,}, which are not the same in "
            "the same order; leave --data out to train on its data"
        )


def must_go_on_as_it_was(source: RunRecord, config: Config) -> None:
    """BadInput if more has changed than a training state can go on with."""
    before = Config.from_dict(source.config)
    fixed = [
        name for section, body in config.as_dict().items() if isinstance(body, dict)
        for name in body if section != "runtime" and name not in MAY_DIFFER
    ]  # fmt: skip
    for name, had, now in _differing(before, config, fixed):
        shown = name.replace("_", "-")
        raise BadInput(
            f"run {source.name} was trained with {shown} {had}, and its training state cannot go "
            f"on with {now}: leave --{shown} out, or begin a run from its weights by --init-from"
        )


def must_be_longer(origin: Origin, steps: int) -> None:
    """BadInput unless training is left beyond what the other run has done."""
    if steps <= origin.done:
        raise BadInput(
            f"run {origin.run} is at step {origin.step:,} already, and this run would end at step "
            f"{steps:,}: give more --epochs, or a higher --max-steps"
        )


def _differing(
    one: Config, other: Config, names: Sequence[str]
) -> list[tuple[str, object, object]]:
    """(name, of the one, of the other) of those of these settings that are not equal."""
    had, now = (
        {name: value for body in each.as_dict().values() if isinstance(body, dict)
         for name, value in body.items()}
        for each in (one, other)
    )  # fmt: skip
    return [(name, had[name], now[name]) for name in names if had[name] != now[name]]


def _of_newest_head(store: Store, source: RunRecord, made: Callable[[Head], Start]) -> Start:
    for left in reversed(range(TRIES)):
        head = left_head(store, source.name)
        if head.state == REMOVED:
            raise BadInput(f"run {source.name} is being removed: nothing can begin from it")
        try:
            return made(head)
        except NotFound:
            if not left:
                raise
    raise AssertionError("unreachable")


def _kept(head: Head, step: int | None) -> Kept:
    if not head.kept:
        raise BadInput(f"run {head.run} has no checkpoint yet: nothing can begin from it")
    if step is None:
        return head.kept[-1]
    for kept in head.kept:
        if kept.step == step:
            return kept
    steps = ", ".join(str(kept.step) for kept in head.kept)
    raise BadInput(f"run {head.run} keeps no checkpoint of step {step}: it keeps those of {steps}")


def _content(source: RunRecord, config: Config, kept: Kept, fetch: Fetch) -> bytes:
    config.check_size(kept.key, kept.size, CHECKPOINT_COPIES)
    return fetch(_stored(kept), f"checkpoint of step {kept.step} of run {source.name}")


def _must_be_of_its_step(content: bytes, kept: Kept) -> None:
    tensors, record = files.from_bytes(content, kept.key)
    _must_be_finite(tensors, kept.key)
    step = tensors.get("loop.step")
    whole = step is not None and step.shape == () and step.dtype == np.int64
    counted = int(step) if step is not None and whole else None
    if not counted == record.get("step") == kept.step:
        raise Corrupt(
            f"{kept.key} is named as the checkpoint of step {kept.step}, and is not of that step: "
            "begin from another checkpoint (RUN@STEP)"
        )


def _must_be_finite(tensors: Mapping[str, NDArray[Any]], where: str) -> None:
    """Corrupt for weights or moments that no run commits (`checkpoint.Snapshot.encode`)."""
    for name, array in tensors.items():
        if name.startswith("loop.") or array.dtype.kind != "f":
            continue
        if not np.isfinite(array).all():
            raise Corrupt(
                f"{where}: {name} holds NaN or infinity: begin from another checkpoint (RUN@STEP)"
            )


def _stored(kept: Kept) -> Stored:
    return Stored(kept.key, kept.size, kept.sha256)


def _data(source: RunRecord) -> Stored:
    if source.data is None:
        raise BadInput(f"run {source.name} names no data: nothing can begin from it")
    return source.data
