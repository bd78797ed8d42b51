"""Exports a finished run: its best and last EMA weights and some samples, as one object."""

from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load

from mimir.config import Config
from mimir.data.pack import Peptides
from mimir.errors import Corrupt
from mimir.model.denoiser import Denoiser
from mimir.output import model_object, vocabulary
from mimir.output.condition import Condition, of_target
from mimir.output.quality import Reference, best_covered
from mimir.output.sampling import Draw, sample
from mimir.runs.commit import Attempt
from mimir.runs.store import Stored
from mimir.training.engine import Engine
from mimir.training.validation import ema_weights

SAMPLES = 256
"""That a finished run leaves."""
FEW = 64
"""Drawn during training, and left for each of the best-covered targets."""


def weights(engine: Engine) -> dict[str, NDArray[np.float32]]:
    """The best EMA weights by parameter, and the last ones with `model_object.LAST` before."""
    state = engine.state
    return {
        prefix + span.name: vector[span.start : span.stop].view(span.shape).cpu().numpy()
        for prefix, vector in (("", state.best_or_last), (model_object.LAST, state.ema))
        for span in state.spans
    }


def denoiser(content: bytes, config: Config, targets: int, *, last: bool = False) -> Denoiser:
    """The model from exported weights. Raises Corrupt if they do not fit the configuration.

    targets: known target proteins. last: the last weights, and not the best.
    """
    model = Denoiser(config.model, config.objective.timesteps, targets)
    try:
        weights = {
            name.removeprefix(model_object.LAST): value
            for name, value in load(content).items()
            if name.startswith(model_object.LAST) == last
        }
        model.load_state_dict(weights)
    except (SafetensorError, RuntimeError) as error:
        first = str(error).splitlines()[-1].strip()
        raise Corrupt(f"{model_object.FILE} does not fit config.json: {first}") from None
    return model.eval()


def draw_some(engine: Engine, peptides: Peptides, count: int, *, best: bool = False) -> list[str]:
    """Peptides from the EMA weights, with the label "interacting" where the data has pairs.

    best: from those of the best validation, and not of now.
    """
    label = int(any(vocabulary.of(peptides).lengths.interacting))
    return _drawn(engine, peptides, Condition(label), count, best)


def draw_told(
    engine: Engine, peptides: Peptides, count: int, *, best: bool = False
) -> dict[str, list[str]]:
    """So many peptides for each of the best-covered targets, by its name. best: as `draw_some`."""
    composition = None if engine.data.composition is None else peptides.composition
    return {
        name: _drawn(engine, peptides, of_target(target, name, composition), count, best)
        for target in best_covered(peptides)
        for name in (peptides.vocabulary[target],)
    }


def _drawn(
    engine: Engine, peptides: Peptides, condition: Condition, count: int, best: bool
) -> list[str]:
    lengths = vocabulary.of(peptides).lengths
    weights = lengths.weights(condition.label, condition.target)
    draw = Draw(condition, seed=engine.config.training.seed)
    with ema_weights(engine, best=best):
        return sample(engine.model, count, draw, weights)


@lru_cache(maxsize=1)
def reference(peptides: Peptides) -> Reference:
    """What samples are compared with; of a million peptides it takes a second to make."""
    return Reference(peptides)


def quality(engine: Engine, peptides: Peptides) -> dict[str, Any]:
    """The quality of a few samples, as columns of metrics."""
    drawn = draw_some(engine, peptides, FEW)
    found = reference(peptides).quality(drawn)
    return {"samples": drawn[:5], **{f"samples_{k}": v for k, v in asdict(found).items()}}


def leave(
    attempt: Attempt, engine: Engine, peptides: Peptides, say: Callable[[str], None]
) -> Stored:
    """Upload what the run leaves; HEAD is to name what is returned.

    Raises:
        Fenced: another attempt has the run by now.
    """
    say(f"drawing {SAMPLES} samples and uploading the model")
    drawn = draw_some(engine, peptides, SAMPLES, best=True)
    told = draw_told(engine, peptides, FEW, best=True)
    attempt.confirm()
    say(f"{len(drawn)} samples: {reference(peptides).quality(drawn).sentence}")
    best_step = int(engine.state.best_step)
    content = model_object.encode(weights(engine), drawn, told, best_step)
    return attempt.put_model(model_object.FILE, content)
