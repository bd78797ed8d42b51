"""Writes the report: one HTML file that can be attached to a paper or a message."""

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from mimir import __version__
from mimir.data.pack import Peptides
from mimir.output import histogram
from mimir.output.model_object import Record
from mimir.output.quality import Reference
from mimir.output.sample_tables import Tables, tables
from mimir.runs import figures
from mimir.runs.execution import Execution
from mimir.runs.head import Head
from mimir.runs.record import RunRecord
from mimir.runs.stopping import End
from mimir.text import as_html

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#222}table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.2rem .8rem .2rem 0;"
    "text-align:left;vertical-align:top}th{color:#666;font-weight:600}img{max-width:100%}"
    ".plots svg{margin:0 .8rem .4rem 0;font:12px system-ui,sans-serif}.plots text{fill:#444}"
    ".real{fill:#cfd8dc}.drawn{fill:none;stroke:#1565c0;stroke-width:1.5}"
    "code,pre{font:13px ui-monospace,monospace}h2{margin-top:2rem}"
)

# The page runs nothing and fetches nothing, whatever it holds.
_POLICY = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
)


def page(
    record: RunRecord,
    head: Head,
    rows: list[dict[str, Any]],
    peptides: Peptides,
    left: Record,
    curve: bytes,
    executions: Mapping[int, Execution],
    end: End,
) -> bytes:
    """The report of a finished run, self-contained, as UTF-8.

    left: its samples. executions: how attempts executed their steps, of those that told. end: how
    it ended.
    """
    keys = [figures.SELECTION, *(figure.key for figure in figures.FIGURES)]
    validated = [row for row in rows if any(row.get(key) is not None for key in keys)]
    last: dict[str, Any] = next(
        (row for row in validated if row["step"] == end.best_step), (validated or [{}])[-1]
    )
    shown = [
        (figure, last.get(figure.key), peptides.baselines.of(figure)) for figure in figures.FIGURES
    ]
    table = [
        (
            figure.label,
            figure.meaning,
            "–" if value is None else f"{value:.4f}",
            f"{mark.unigram:.4f}" if mark else "–",
            f"{mark.markov2:.4f}" if mark else "–",
            f"{form:.4f}" if (form := peptides.baselines.closed_form(figure)) else "–",
        )
        for figure, value, mark in shown
    ]
    short = "".join(f"<p>{as_html(one)}.</p>" for one in peptides.baselines.unreached(last))
    settings = [
        (key, str(value))
        for section, body in record.config.items()
        if isinstance(body, dict)
        for key, value in body.items()
    ]
    attempts = [
        (attempt, step, executions[attempt].words if attempt in executions else "–")
        for attempt, step in head.lineage
    ]
    picture = base64.b64encode(curve).decode()
    body = f"""<h1>{as_html(record.name)}</h1>
<p>Preset {as_html(record.preset)}, {len(peptides):,} peptides, {len(peptides.vocabulary)}
targets, {rows[-1]["step"] if rows else 0:,} steps in {len(head.lineage)} attempt(s).</p>
<img alt="loss over steps" src="data:image/png;base64,{picture}">
<p>The run {as_html(end.sentence)}.</p>
<h2>NELBO of the {"best" if end.best_step >= 0 else "last"} weights, nats per residue</h2>
{
        _table(
            (
                "",
                "what it is",
                "this model",
                "composition entropy",
                "order-2 Markov",
                "closed form of the targets",
            ),
            table,
        )
    }
{short}
<p>Background windows of proteins are nearly incompressible: a figure just below their
composition entropy is what an honest model reaches; far below it would mean a leak.</p>
<h2>Samples</h2>
{_samples(peptides, left)}
<h2>Attempts</h2>
{_table(("attempt", "went on from step", "steps were executed"), attempts)}
<h2>Settings</h2>
{_table(("setting", "value"), settings)}
<h2>Provenance</h2>
{
        _table(
            ("what", "sha256"),
            [
                ("data (packed)", peptides.digest),
                ("data (CSV)", peptides.source),
                *((f"checkpoint of step {kept.step}", kept.sha256) for kept in head.kept),
            ],
        )
    }
<p>Mimir {__version__}.</p>"""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">{_POLICY}'
        f"<title>{as_html(record.name)}</title><style>{_STYLE}</style>{body}</html>"
    ).encode()


def _samples(peptides: Peptides, left: Record) -> str:
    """The section on samples: figures that say little alone, beside those of real peptides."""
    if not left.samples:
        return "<p>None were drawn.</p>"
    found = tables(peptides, left.samples, left.told)
    quality = Reference(peptides).quality(left.samples)
    size, what = next(iter(found.likeness.values()))["peptides"], found.what
    likeness = [
        (name, f"{row['kl']:.3f}", f"{row['jaccard']:.3f}", f"{row['copies']:.0%}",
         f"{row['equal']:.0%}", f"{row['diversity']:.3f}", f"{row['unique']:.0%}")
        for name, row in found.likeness.items()
    ]  # fmt: skip
    plots = "".join(
        histogram.svg(name, real, drawn) for name, (drawn, real) in found.values.items()
    )
    properties = [
        (row.name, f"{row.samples:.2f}", f"{row.real:.2f}",
         *(f"{row.distances[name]:.2f}" for name in found.likeness))
        for row in found.properties
    ]  # fmt: skip
    of_properties = ("", "mean", f"of training {what}", *(f"KS, {name}" for name in found.likeness))
    shown = as_html("\n".join(left.samples[:20]))
    return f"""<p>{len(left.samples)} drawn without a target: {as_html(quality.sentence)}.</p>
<p>Beside other peptides, {size:.0f} of each, all compared to the training {what}. Good samples are
about as far from them as the held-out {what}; more near copies than theirs would mean that training
is repeated; random letters show what failing looks like. Near copies: equal letters without gaps
are 60 % of the longer one, or more. KS: the largest difference of two distributions, 0 to 1.</p>
{_table(_LIKENESS, likeness)}
<p>Samples (line) and training {what} (grey):</p>
<p class="plots">{plots}</p>
{_table(of_properties, properties)}
{_targets(found)}
<pre>{shown}</pre>"""


_LIKENESS = (
    "", "KL of composition, nats", "3-mer Jaccard", "near copies", "equal", "diversity", "unique",
)  # fmt: skip
_TOLD = (
    "target", "pairs", "samples", "KL of composition", "KL if untold", "mean length",
    "of its pairs", "near copies",
)  # fmt: skip


def _targets(found: Tables) -> str:
    if not found.targets:
        return ""
    rows = [
        (row.target, row.pairs, row.samples, f"{row.kl:.3f}", f"{row.kl_untold:.3f}",
         f"{row.length:.1f}", f"{row.length_of_pairs:.1f}", f"{row.copies:.0%}")
        for row in found.targets
    ]  # fmt: skip
    return f"""<h3>Told a target</h3>
<p>The targets with most training pairs. A model that knows its target draws letters nearer to
the target's own pairs than it does untold.</p>
{_table(_TOLD, rows)}"""


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    cells = "".join(f"<th>{as_html(cell)}</th>" for cell in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{as_html(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{cells}</tr>{lines}</table>"
