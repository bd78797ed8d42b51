"""Exports a finished run: its EMA weights and some samples, as one object."""

from collections.abc import Callable
from dataclasses import asdict
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
from mimir.output.condition import Condition
from mimir.output.quality import Quality, known_in
from mimir.output.sampling import Draw, sample
from mimir.runs.commit import Attempt
from mimir.runs.store import Stored
from mimir.training.engine import Engine
from mimir.training.validation import ema_weights

SAMPLES = 64


def weights(engine: Engine) -> dict[str, NDArray[np.float32]]:
    """The EMA weights by parameter."""
    state = engine.state
    return {
        span.name: state.ema[span.start : span.stop].view(span.shape).cpu().numpy()
        for span in state.spans
    }


def denoiser(content: bytes, config: Config, targets: int) -> Denoiser:
    """The model from exported weights. Raises Corrupt if they do not fit the configuration.

    targets: known target proteins.
    """
    model = Denoiser(config.model, config.objective.timesteps, targets)
    try:
        model.load_state_dict(load(content))
    except (SafetensorError, RuntimeError) as error:
        first = str(error).splitlines()[-1].strip()
        raise Corrupt(f"{model_object.FILE} does not fit config.json: {first}") from None
    return model.eval()


def draw_some(engine: Engine, peptides: Peptides, count: int) -> list[str]:
    """Peptides from the EMA weights, with the label "interacting" where the data has pairs."""
    lengths = vocabulary.of(peptides).lengths
    label = 1 if any(lengths.interacting) else 0
    histogram = lengths.interacting if label else lengths.background
    draw = Draw(Condition(label), seed=engine.config.training.seed)
    with ema_weights(engine):
        return sample(engine.model, count, draw, histogram)


def quality(engine: Engine, peptides: Peptides) -> dict[str, Any]:
    """Validity, uniqueness and novelty of a few samples, as columns of metrics."""
    drawn = draw_some(engine, peptides, SAMPLES)
    found = Quality.of(drawn, known_in(peptides))
    return {"samples": drawn[:5], **{f"samples_{k}": v for k, v in asdict(found).items()}}


def leave(
    attempt: Attempt, engine: Engine, peptides: Peptides, say: Callable[[str], None]
) -> Stored:
    """Upload what the run leaves; HEAD is to name what is returned.

    Raises:
        Fenced: another attempt has the run by now.
    """
    drawn = draw_some(engine, peptides, SAMPLES)
    found = Quality.of(drawn, known_in(peptides))
    attempt.confirm()
    say(
        f"{len(drawn)} samples: {found.valid:.0%} valid, {found.unique:.0%} unique, "
        f"{found.novel:.0%} not in the training data"
    )
    return attempt.put_model(model_object.FILE, model_object.encode(weights(engine), drawn))
