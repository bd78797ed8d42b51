"""What a trained model does, from a program: draw, score and evaluate.

    from mimir import api

    rows = api.sample(model="first", n=10, target="P31947")
    print([row["sequence"] for row in rows])

Each function does what the command of its name does, by the same code, and takes its options as
keywords. What goes wrong is raised as a `mimir.errors.MimirError`. `launch.api` submits and follows
runs.
"""

import contextlib
import io
import json
from collections.abc import Callable
from functools import partial
from typing import Any

__all__ = ["evaluate", "sample", "score"]


def sample(*, run: str = "", model: str = "", n: int = 10, **options: Any) -> list[dict[str, Any]]:
    """Draw peptides: each a row with `sequence` and what is known of it, as `sample --format json`.

    Args:
        run: name of a run.
        model: instead of a run, a folder that `pull` made.
        n: how many peptides; of several targets for each.
        options: those of the command: target="P31947", seed=1, min_length=8.
    """
    from mimir.output.commands import sample as command

    return _rows(partial(command, run=run, model=model, n=n, format="json", **options))


def score(*, peptides: str, run: str = "", model: str = "", **options: Any) -> list[dict[str, Any]]:
    """Score the peptides of a file: a row for each peptide and target, as `score --json`.

    Args:
        peptides: a file of peptides: one a line, FASTA, or CSV with a column `sequence`.
        run: name of a run.
        model: instead of a run, a folder that `pull` made.
        options: those of the command: target="P31947", repeats=24.
    """
    from mimir.output.commands import score as command

    return _rows(partial(command, peptides=peptides, run=run, model=model, json=True, **options))


def evaluate(
    *, run: str = "", model: str = "", last: bool = False, data: str = "", repeats: int = 12,
    samples: int = 1000, store: str = "", device: str = "auto",
) -> dict[str, Any]:  # fmt: skip
    """Measure a model on held-out peptides: the figures that `evaluate --json` prints. Options as
    those of the command."""
    from mimir.output.commands import measured

    return measured(run, model, last, data, repeats, samples, store, device)


def _rows(command: Callable[[], None]) -> list[dict[str, Any]]:
    """The peptides in the JSON that a command prints."""
    printed = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(printed, encoding="utf-8")):
        command()
        rows: list[dict[str, Any]] = json.loads(printed.getvalue())["peptides"]
    return rows
