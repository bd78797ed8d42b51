"""Measures all held-out figures of a model, for `python -m mimir evaluate`."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from mimir.console import bar
from mimir.data.alphabet import MAX_LENGTH
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
    worth (from LEAST_REPEATS on), and the quality of samples. Shows how far it is."""
    device = opened.model.letter.device
    held = HeldOut.of(peptides, device, len(peptides), opened.config.objective)
    with bar("evaluate", _passes(held, peptides, repeats, samples), "measurement") as advance:
        return _measured(opened, peptides, held, repeats, samples, advance)


def _passes(held: HeldOut, peptides: Peptides, repeats: int, samples: int) -> int:
    """Peptides that `measure` takes through the model, each time counted."""
    found = held.passes * repeats
    if repeats >= LEAST_REPEATS:
        found += target_gain.WAYS * repeats * (len(held.known) + len(held.pairs))
    targets = len(best_covered(peptides)) if samples else 0
    return found + MAX_LENGTH * (samples + targets * max(1, samples // 5))


def _measured(
    opened: Opened, peptides: Peptides, held: HeldOut, repeats: int, samples: int,
    advance: Callable[[int], None],
) -> dict[str, Any]:  # fmt: skip
    model = opened.model
    timesteps = opened.config.objective.timesteps
    rows = {}
    for figure in figures.FIGURES:
        found = MEASURES[figure.key](held, model, timesteps, repeats)
        advance(found.peptides * repeats)
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
        "device": model.letter.device.type,
    }  # fmt: skip
    enough = repeats >= LEAST_REPEATS
    ways = {
        "known": (held.known, held.shuffled, held.untold),
        "unseen": (held.pairs, held.pairs_shuffled, held.pairs_untold),
    }
    result["target"] = None
    if enough:
        gains = {
            name: target_gain.measure(*told, model, timesteps, repeats, advance)
            for name, told in ways.items()
        }
        result["target"] = {name: gain and asdict(gain) for name, gain in gains.items()}
    values = {figure.key: rows[figure.name]["model"] for figure in figures.FIGURES}
    result["unreached"] = peptides.baselines.unreached(values)
    if samples:
        result["samples"] = _samples(opened, peptides, samples, advance)
    return result


def _samples(
    opened: Opened, peptides: Peptides, count: int, advance: Callable[[int], None]
) -> dict[str, Any]:
    """Figures of so many samples without a target, and of a fifth as many of each target."""
    lengths = opened.vocabulary.lengths

    def drawn(condition: Condition, count: int) -> list[str]:
        weights = lengths.weights(condition.label, condition.target)
        return sample(
            opened.model, count, Draw(condition), weights, lambda done: advance(MAX_LENGTH * done)
        )

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
