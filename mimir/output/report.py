"""Writes the report: one HTML file that can be attached to a paper or a message."""

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from mimir import __version__
from mimir.data.pack import Peptides
from mimir.output.quality import Quality
from mimir.runs import figures
from mimir.runs.execution import Execution
from mimir.runs.head import Head
from mimir.runs.record import RunRecord
from mimir.text import as_html

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#222}table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.2rem .8rem .2rem 0;"
    "text-align:left;vertical-align:top}th{color:#666;font-weight:600}img{max-width:100%}"
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
    samples: list[str],
    quality: Quality,
    curve: bytes,
    executions: Mapping[int, Execution],
) -> bytes:
    """The report of a finished run, self-contained, as UTF-8.

    executions: how attempts executed their steps, of those that told.
    """
    last: dict[str, Any] = next(
        (row for row in reversed(rows) if row.get(figures.RANKING) is not None), {}
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
<h2>NELBO, nats per residue</h2>
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
<p>{quality.valid:.0%} valid, {quality.unique:.0%} unique, {quality.novel:.0%} not in the
training data ({len(samples)} drawn).</p>
<pre>{as_html(chr(10).join(samples[:20]))}</pre>
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


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    cells = "".join(f"<th>{as_html(cell)}</th>" for cell in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{as_html(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{cells}</tr>{lines}</table>"
