"""Exports a finished run as one archive, whose model can be read without Mimir.

model.safetensors   EMA weights, float32
config.json         the run's configuration
vocabulary.json     letters, mask, labels, targets, lengths of the training peptides
metrics.jsonl       every row of metrics of the run's history
samples.fasta       some peptides
loss.png            the curve
report.html         all of it at a glance, in one file
tensorboard/        the same metrics as event files
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load, save

from mimir import __version__
from mimir.config import Config
from mimir.data.alphabet import LETTERS, MASK, MAX_LENGTH, STANDARD
from mimir.data.keys import window_keys
from mimir.data.pack import TRAIN, Peptides
from mimir.errors import Corrupt
from mimir.model.denoiser import Denoiser
from mimir.output import plot, report
from mimir.output.sampling import Draw, Quality, sample
from mimir.runs import archive, layout
from mimir.runs.commit import Attempt
from mimir.runs.parts import read_metrics
from mimir.runs.record import RunRecord
from mimir.runs.store import Stored
from mimir.training.engine import Engine
from mimir.training.validation import ema_weights

FORMAT = 1
SAMPLES = 64


def vocabulary(peptides: Peptides) -> dict[str, Any]:
    """What the numbers in the weights mean."""
    lengths: dict[str, list[int]] = {}
    for name, label in (("background", 0), ("interacting", 1)):
        rows = peptides.subset(TRAIN, label)
        counts = np.bincount(peptides.lengths[rows], minlength=MAX_LENGTH + 1)
        lengths[name] = [int(count) for count in counts]
    trained = peptides.targets[peptides.subset(TRAIN, 1)]
    pairs = np.bincount(trained, minlength=len(peptides.vocabulary))
    return {
        "format": FORMAT,
        "letters": LETTERS,
        "standard": STANDARD,
        "mask": MASK,
        "labels": ["background", "interacting", "not told"],
        "targets": list(peptides.vocabulary),
        "no_target": len(peptides.vocabulary),
        "pairs": pairs.tolist(),
        "lengths": lengths,
    }


def weights(engine: Engine) -> bytes:
    """The EMA weights as a safetensors object."""
    state = engine.state
    return save({
        span.name: state.ema[span.start : span.stop].view(span.shape).cpu().contiguous()
        for span in state.spans
    })  # fmt: skip


def denoiser(content: bytes, config: Config, words: dict[str, Any]) -> Denoiser:
    """The model from exported weights. Raises Corrupt if they do not fit the configuration."""
    model = Denoiser(config.model, config.objective.timesteps, int(words["no_target"]))
    try:
        tensors = load(content)
        model.load_state_dict(tensors)
    except (SafetensorError, RuntimeError) as error:
        first = str(error).splitlines()[-1].strip()
        raise Corrupt(f"model.safetensors does not fit config.json: {first}") from None
    return model.eval()


def known_in(peptides: Peptides) -> Callable[[list[str]], list[bool]]:
    """A test for membership in the training peptides."""
    starts = peptides.offsets[:-1].astype(np.int64)
    rows = peptides.subset(TRAIN)
    lengths = peptides.lengths.astype(np.int64)
    have = window_keys(peptides.tokens, starts[rows], lengths[rows])

    def known(samples: list[str]) -> list[bool]:
        if not samples:
            return []
        tokens = np.array([LETTERS.index(c) for s in samples for c in s], dtype=np.uint8)
        sizes = np.array([len(s) for s in samples], dtype=np.int64)
        keys = window_keys(tokens, np.cumsum(sizes) - sizes, sizes)
        # Few of a million rows share even the first twelve letters with a sample.
        near = have.take(np.isin(have.hi, keys.hi))
        table = set(zip(near.hi.tolist(), near.lo.tolist(), strict=True))
        return [pair in table for pair in zip(keys.hi.tolist(), keys.lo.tolist(), strict=True)]

    return known


def draw_some(engine: Engine, peptides: Peptides, count: int) -> list[str]:
    """Peptides from the EMA weights, with the label "interacting" where the data has pairs."""
    words = vocabulary(peptides)
    label = 1 if any(words["lengths"]["interacting"]) else 0
    histogram = words["lengths"]["interacting" if label else "background"]
    draw = Draw(label=label, seed=engine.config.training.seed)
    with ema_weights(engine):
        return sample(engine.model, count, draw, histogram)


def quality(engine: Engine, peptides: Peptides) -> dict[str, Any]:
    """Validity, uniqueness and novelty of a few samples, as columns of metrics."""
    drawn = draw_some(engine, peptides, SAMPLES)
    found = Quality.of(drawn, known_in(peptides))
    return {"samples": drawn[:5], **{f"samples_{k}": v for k, v in asdict(found).items()}}


def leave(
    attempt: Attempt, engine: Engine, peptides: Peptides, record: RunRecord,
    say: Callable[[str], None],
) -> Stored:  # fmt: skip
    """Make the archive and upload it; HEAD is to name what is returned.

    Raises:
        Fenced: another attempt has the run by now; its report is left alone.
    """
    drawn = draw_some(engine, peptides, SAMPLES)
    found = Quality.of(drawn, known_in(peptides))
    rows = read_metrics(attempt.store, attempt.run, attempt.head)
    fasta = "".join(f">{attempt.run}_{i + 1}\n{s}\n" for i, s in enumerate(drawn))
    curve = plot.loss_curve(rows, peptides.baselines.background)
    page = report.page(record, attempt.head, rows, peptides, drawn, found, curve)
    files = {
        "model.safetensors": weights(engine),
        "config.json": _json({"format": FORMAT, "mimir": __version__, "run": record.name,
                              "step": engine.step, **engine.config.as_dict()}),
        "vocabulary.json": _json(vocabulary(peptides)),
        "metrics.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode(),
        "samples.fasta": fasta.encode(),
        "loss.png": curve,
        "report.html": page,
        **events(rows),
    }  # fmt: skip
    attempt.confirm()
    attempt.store.put(layout.report_key(attempt.run, attempt.number), page)
    say(
        f"{len(drawn)} samples: {found.valid:.0%} valid, {found.unique:.0%} unique, "
        f"{found.novel:.0%} not in the training data"
    )
    return attempt.put_model("model.tar", archive.pack(files))


def events(rows: list[dict[str, Any]]) -> dict[str, bytes]:
    """TensorBoard event files of the metrics, by name."""
    from torch.utils.tensorboard import SummaryWriter

    with tempfile.TemporaryDirectory(prefix="mimir-") as folder:
        writer = SummaryWriter(folder)
        for row in rows:
            for name, value in row.items():
                if name not in ("step", "time") and isinstance(value, (int, float)):
                    writer.add_scalar(name, value, row["step"], walltime=row.get("time"))
        writer.close()
        return {f"tensorboard/{p.name}": p.read_bytes() for p in sorted(Path(folder).iterdir())}


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()
