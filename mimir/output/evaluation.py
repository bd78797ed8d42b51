"""Measures all held-out figures of a model, for `python -m mimir evaluate`."""

from dataclasses import asdict
from typing import Any

import torch

from mimir.data.pack import Peptides
from mimir.output import sample_tables, target_gain
from mimir.output.condition import Condition, of_target
from mimir.output.model_file import Opened
from mimir.output.quality import Reference, best_covered
from mimir.output.sampling import Draw, sample
from mimir.runs import figures
from mimir.training.figures import MEASURES, HeldOut

LEAST_REPEATS = 12
"""Passes with other masks below which no interval is given: the masks' own noise is not in it."""


def measure(opened: Opened, peptides: Peptides, repeats: int, samples: int) -> dict[str, Any]:
    """NELBO of every held-out peptide of the reported half, in nats per residue, what a target is
    worth (from LEAST_REPEATS on), and the quality of samples."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = opened.model.to(device)
    held = HeldOut.of(peptides, device, len(peptides), opened.config.objective)
    timesteps = opened.config.objective.timesteps
    rows = {}
    for figure in figures.FIGURES:
        found = MEASURES[figure.key](held, model, timesteps, repeats)
        mark = peptides.baselines.of(figure)
        rows[figure.name] = {
            "model": found.value,
            "composition": mark.unigram if mark else None,
            "markov2": mark.markov2 if mark else None,
            "closed_form": peptides.baselines.closed_form(figure),
            "peptides": found.peptides,
        }
    result: dict[str, Any] = {
        "model": opened.source, "half": "reported", "repeats": repeats, "nelbo": rows,
    }  # fmt: skip
    enough = repeats >= LEAST_REPEATS
    ways = {
        "known": (held.known, held.shuffled, held.untold),
        "unseen": (held.pairs, held.pairs_shuffled, held.pairs_untold),
    }
    result["target"] = None
    if enough:
        gains = {
            name: target_gain.measure(*told, model, timesteps, repeats)
            for name, told in ways.items()
        }
        result["target"] = {name: gain and asdict(gain) for name, gain in gains.items()}
    values = {figure.key: rows[figure.name]["model"] for figure in figures.FIGURES}
    result["unreached"] = peptides.baselines.unreached(values)
    if samples:
        result["samples"] = _samples(opened, peptides, samples)
    return result


def _samples(opened: Opened, peptides: Peptides, count: int) -> dict[str, Any]:
    """Figures of so many samples without a target, and of a fifth as many of each target."""
    lengths = opened.vocabulary.lengths

    def drawn(condition: Condition, count: int) -> list[str]:
        weights = lengths.weights(condition.label, condition.target)
        return sample(opened.model, count, Draw(condition), weights)

    untold = drawn(Condition(int(any(lengths.interacting))), count)
    told = {
        name: drawn(of_target(target, name, opened.composition), max(1, count // 5))
        for target in best_covered(peptides)
        for name in (peptides.vocabulary[target],)
    }
    return {
        "drawn": count, **asdict(Reference(peptides).quality(untold)),
        "tables": sample_tables.tables(peptides, untold, told).as_json(),
    }  # fmt: skip


def table(figures: dict[str, Any]) -> str:
    """What `measure` found, for people."""
    lines = [
        figures["model"],
        "of what is held out, the half that is reported; the other half selects the best weights",
    ]
    lines.append(
        f"{'nats per residue':<34}{'model':>9}{'composition':>13}{'order-2':>9}{'closed form':>13}"
        f"{'peptides':>10}"
    )
    for name, row in figures["nelbo"].items():
        marks = [row[key] for key in ("model", "composition", "markov2", "closed_form")]
        shown = [f"{mark:.4f}" if mark is not None else "–" for mark in marks]
        lines.append(
            f"{name:<34}{shown[0]:>9}{shown[1]:>13}{shown[2]:>9}{shown[3]:>13}"
            f"{row['peptides']:>10,}"
        )
    lines += figures["unreached"]
    lines += _target_lines(figures["target"], figures["repeats"])
    if found := figures.get("samples"):
        lines.append(
            f"{found['drawn']} samples: {found['unique']:.1%} unique, {found['novel']:.1%} not in "
            "the training data"
        )
        lines += sample_tables.lines(found["tables"])
    return "\n".join(lines)


def _target_lines(found: dict[str, Any] | None, repeats: int) -> list[str]:
    if repeats < LEAST_REPEATS:
        return [
            f"what a target is worth: not measured, its intervals need {LEAST_REPEATS} passes "
            f"with other masks at least (--repeats is {repeats})"
        ]
    lines = []
    for kind, gain in (found or {}).items():
        if gain is None:
            lines.append(f"what a target is worth: not measured for {kind} targets, of which no "
                         "pairs of two are held out")  # fmt: skip
            continue
        lines += [
            f"what a target is worth, over {gain['pairs']:,} pairs of {gain['targets']:,} {kind} "
            f"targets in {gain['clusters']:,} clusters (95 % intervals over targets | over "
            "clusters of peptides)",
            f"  with none instead of its own       {_shown(gain['gain'], '+.4f')} nats a residue",
            f"  with another's instead of its own  {_shown(gain['shuffled'], '+.4f')}",
            f"  own preferred to another's         {_shown(gain['choices'], '.1%')}; chance 50 %",
        ]
    return lines


def _shown(estimate: dict[str, Any], form: str) -> str:
    over = (estimate["targets"], estimate["clusters"])
    ranges = " | ".join(f"{each['low']:{form}} to {each['high']:{form}}" for each in over)
    return f"{estimate['value']:{form}} ({ranges})"
