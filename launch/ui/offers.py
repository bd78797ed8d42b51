"""Offers and forecasts, as tables for people and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from launch.contract import image
from launch.pricing import gpus, plateau
from launch.pricing.budget import HOUR
from launch.pricing.catalogue import Price
from launch.pricing.forecast import Forecast, need_gb, step_seconds
from launch.pricing.market import LeftOut, Problem, Ranked, grouped, left_out
from launch.pricing.plateau import Plateau
from launch.pricing.workload import Workload
from launch.providers.colab import sessions
from launch.ui import narrow
from launch.ui.runs import table
from mimir.data.mix import VISITS
from mimir.text import duration

EXPECTED_FROM = f"a guess: each pair seen {VISITS:g} times, as in three runs in docs/lab.md"
ROWS_SHOWN = 40
"""Offers in the table; the JSON has all."""


@dataclass(frozen=True)
class Line:
    """A GPU's forecast, and its price if one is known."""

    what: Forecast
    price: Price | None
    plateau: Plateau | None = None

    @property
    def cost(self) -> float | None:
        return None if self.price is None else self.price.price * self.what.hours

    @property
    def plateau_hours(self) -> float | None:
        """Of the machine, up to the step at which the preset was best; None if not measured."""
        return self.what.hours_to(self.plateau.steps) if self.plateau else None

    @property
    def plateau_cost(self) -> float | None:
        hours = self.plateau_hours
        return None if self.price is None or hours is None else self.price.price * hours

    def as_json(self) -> dict[str, Any]:
        what, price = self.what, self.price
        return {
            "gpu": what.gpu, "fits": what.fits, "need_gb": round(what.need_gb, 2),
            "step_ms": round(1e3 * what.step_s, 4), "epoch_s": round(what.epoch_s, 1),
            "hours": round(what.hours, 3),
            "expected_hours": None if what.expected_hours is None
            else round(what.expected_hours, 3),
            "source": what.source,
            "colab_free": sessions.free(what), "colab_pro": sessions.pro(what),
            "price": price.price if price else None,
            "provider": price.provider if price else None,
            "listed": price.listed if price else None,
            "price_date": price.date if price else None,
            "cost": _rounded(self.cost), "start_hours": round(what.start_s / HOUR, 3),
            "plateau_steps": self.plateau.steps if self.plateau else None,
            "plateau_hours": _rounded(self.plateau_hours),
            "plateau_cost": _rounded(self.plateau_cost),
        }  # fmt: skip


def header(work: Workload) -> dict[str, Any]:
    """What was reckoned."""
    return {
        "preset": work.config.preset, "parameters": work.parameters, "rows": work.rows,
        "batch": work.config.training.batch, "epochs": work.config.training.epochs,
        "steps_per_epoch": work.steps_per_epoch, "steps": work.steps,
        "expected_end": work.expected_end,
    }  # fmt: skip


def _title(work: Workload) -> str:
    training = work.config.training
    return (
        f"{work.config.preset}: {work.parameters / 1e6:.2f}M parameters, {work.rows:,} training "
        f"peptides, {work.steps_per_epoch:,} steps an epoch in batches of {training.batch}, "
        f"{work.steps:,} steps in all"
    )


def _expected(work: Workload) -> list[str]:
    """What early stopping is expected to leave of the steps, for people; nothing if all."""
    if work.expected_end is None:
        return []
    return [
        f"Hours and cost are of all these steps, at most. Early stopping is expected to end the "
        f"run at step {work.expected_end:,} or so ({work.expected_end / work.steps:.1%} of them), "
        f"{EXPECTED_FROM}."
    ]


def offers_json(
    work: Workload, ranked: Sequence[Ranked], left: Sequence[LeftOut],
    listed: Sequence[Line], problems: Sequence[Problem], notes: list[str],
) -> dict[str, Any]:  # fmt: skip
    """All offers, and what is not among them and why. listed: of the catalogue."""
    return {
        **header(work), "offers": [one.as_json() for one in ranked],
        "left_out": [{**one.offer.as_json(), "why": one.why} for one in left],
        "catalogue": [line.as_json() for line in listed],
        "problems": [{"provider": p.provider, "sentence": p.sentence} for p in problems],
        "notes": notes,
    }  # fmt: skip


def offers_text(
    work: Workload, ranked: Sequence[Ranked], left: Sequence[LeftOut],
    listed: Sequence[Line],
) -> str:  # fmt: skip
    """The cheapest offers, best first, and what the catalogue lists."""
    rows = [("PROVIDER", "GPU", "GB", "$/H", "SPOT", "HOURS", "COST", "HOST", "REGION", "FROM")]
    for one in ranked[:ROWS_SHOWN]:
        offer = one.offer
        rows.append((
            offer.provider, offer.gpu, f"{offer.memory_gb:.0f}", f"{offer.price:.3f}",
            "spot" if offer.spot else "", _hours(one.hours), f"${one.cost:.2f}", offer.kind,
            offer.region, one.forecast.source,
        ))  # fmt: skip
    none = f"no offer can take it now; {need_gb(work):.1f} GB of GPU memory are needed"
    lines = [_title(work), table(rows) if ranked else none]
    if len(ranked) > ROWS_SHOWN:
        lines.append(f"and {len(ranked) - ROWS_SHOWN} more: --json has them all")
    lines += [left_out(grouped(left))] if left else []
    lines += _taken(ranked)
    lines += _expected(work)
    if listed:
        catalogue = [("PROVIDER", "GPU", "$/H", "LISTED", "HOURS", "COST", "FROM")]
        for line in listed:
            what, price = line.what, line.price
            if price is not None:
                catalogue.append((
                    price.provider, _named(what), f"{price.price:.3f}", price.told_date,
                    _hours(what.hours), f"${line.cost:.2f}", what.source,
                ))  # fmt: skip
        title = "listed by gpuhunt's catalogue, where there is no key here:"
        lines += [title, table(catalogue)]
    return "\n".join(lines)


def _taken(ranked: Sequence[Ranked]) -> list[str]:
    """What the hours of spot machines hold for evictions, by the first of them."""
    first = next((one for one in ranked[:ROWS_SHOWN] if one.evictions), None)
    if first is None or first.evictions is None:
        return []
    return [
        "Hours and cost of spot machines hold what evictions are expected to cost; of "
        f"{first.offer.provider} {first.offer.gpu} {first.offer.place or first.offer.region}: "
        f"{first.evictions.words(first.offer.price)}."
    ]


_WORTH = ("COLAB PRO", "COLAB FREE", "EPOCH", "MS/STEP", "FROM", "TO PLATEAU", "EXPECTED", "$/H")
"""Columns of an estimate in the order in which a narrow terminal does without them."""


def estimate_text(work: Workload, lines: Sequence[Line], width: int | None = None) -> str:
    """The training guide's table, with today's figures.

    width: of the terminal, in characters; None for no limit.
    """
    head = (
        "GPU", "MS/STEP", "EPOCH", "HOURS", "EXPECTED", "COLAB FREE", "COLAB PRO", "$/H", "COST",
    )  # fmt: skip
    reached, why = plateau.of(work)
    rows = [(*head, *(["TO PLATEAU"] if reached else []), "FROM")]
    for line in lines:
        what, price = line.what, line.price
        rows.append((
            _named(what), f"{1e3 * what.step_s:.2f}", duration(what.epoch_s), _hours(what.hours),
            "" if what.expected_hours is None else _hours(what.expected_hours),
            sessions.free(what), sessions.pro(what),
            f"{price.price:.3f} {price.words}" if price else "",
            f"${line.cost:.2f}" if line.cost is not None else "",
            *([_to_plateau(line)] if reached else []), what.source,
        ))  # fmt: skip
    words = _expected(work)
    if width is not None and narrow.width_of_rows(rows) > width:
        sources = [rows[0][-1], *(line.what.basis.brief for line in lines)]
        brief = [(*row[:-1], source) for row, source in zip(rows, sources, strict=True)]
        shown = narrow.fitted(brief, width, _WORTH)
        if brief != rows and "FROM" in shown.splitlines()[0]:
            words.insert(0, f"too narrow for all that FROM says; {narrow.ELSEWHERE}")
    else:
        shown = table(rows)
    words.append(
        f"to plateau: {reached.steps:,} of the {work.steps:,} steps, after which the held-out "
        f"figure gained less than {plateau.WITHIN:g} nats per residue ({reached.source})"
        if reached
        else f"the time after which training hardly gets better is not shown: {why}"
    )
    started = max((line.what.start_s for line in lines), default=0.0)
    if started:
        words.append(
            f"hours and cost include {duration(started)} of a rented machine's start: boot, image, "
            "compilation"
        )
    if any(line.what.basis.kind == "model" for line in lines):
        words.append(_of_the_model(work, lines))
    said = [narrow.wrapped(sentence, width) for sentence in (_title(work), *words)]
    return "\n".join([said[0], shown, *said[1:]])


def _to_plateau(line: Line) -> str:
    """Hours, and dollars where there is a price; "" where it was not measured."""
    hours, cost = line.plateau_hours, line.plateau_cost
    if hours is None:
        return ""
    return f"{_hours(hours)} h" + (f", ${cost:.2f}" if cost is not None else "")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _of_the_model(work: Workload, lines: Sequence[Line]) -> str:
    """How good the model's rows are, by those GPUs of the table that were measured."""
    known = [
        (line.what, gpus.get(line.what.gpu)) for line in lines if line.what.basis.kind == "measured"
    ]
    ratios = [(what.gpu, what.step_s / step_seconds(work, gpu)) for what, gpu in known if gpu]
    if not ratios:
        return (
            '"model" rows are roofline estimates, not measured on that GPU itself: expect a factor '
            "of two either way"
        )
    told = " and ".join(f"{ratio:.2g}x the estimate on {gpu}" for gpu, ratio in ratios)
    return (
        f'"model" rows are roofline estimates. Where steps were measured, they took {told}; '
        '"model x" rows are corrected by the bench on the card that they name'
    )


def _named(what: Forecast) -> str:
    """The GPU's name, with what speaks against it."""
    if not what.fits:
        return f"{what.gpu} (too small: {what.need_gb:.1f} GB needed)"
    gpu = gpus.get(what.gpu)
    old = gpu is not None and gpu.capability < image.wanted("").since
    return f"{what.gpu} (too old for the image)" if old else what.gpu


def _hours(hours: float) -> str:
    return f"{hours:.2f}" if hours < 10 else f"{hours:.0f}"
