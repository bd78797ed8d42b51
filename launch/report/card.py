"""Makes the model card of a pulled folder: README.md as Hugging Face reads it, and CITATION.bib.

The template prints no value that has not gone through `_shown`, which makes plain text of it:
Markdown and HTML in a text from a machine or from the data show as they are.
"""

import html
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from launch.report import page
from launch.report.cells import NONE
from launch.report.facts import Facts
from launch.report.provenance import digests
from launch.report.verdict import verdict
from mimir import __version__
from mimir.data import terms
from mimir.data.pack import Peptides
from mimir.runs import figures
from mimir.text import visible

TEMPLATE = Path(__file__).with_name("card.md")
CARD, CITATION = "README.md", "CITATION.bib"
TAGS = ("peptides", "peptide-generation", "masked-diffusion", "pytorch", "safetensors")
METRIC = "nelbo"
_NAME = re.compile(r"[A-Za-z0-9_.]{1,40}")
"""Names of targets that a shell takes as they are."""
_ADDRESS = re.compile(r"((?:https?://|www\.)[A-Za-z0-9._~/%+:#=?-]*[A-Za-z0-9_~/-])")
"""Without characters that mean anything to Markdown or HTML in a code span or a table."""
_MARKS = re.compile(r"([\\`*_{}\[\]#|~])")


@dataclass(frozen=True)
class Weights:
    """What is in the folder. parameters: of the model. sha256: of its file. step: of the training;
    best_step: of the best weights, -1 if nothing selected them. finished: whether the run is."""

    parameters: int
    sha256: str
    step: int
    best_step: int
    finished: bool

    @property
    def words(self) -> str:
        best = f"the best, of step {self.best_step:,}"
        which = best if self.best_step >= 0 else f"the last, of step {self.step:,}"
        return which if self.finished else f"{which}, of a run that is not finished"


def files(facts: Facts, peptides: Peptides, weights: Weights) -> dict[str, bytes]:
    """The card and what to cite, by file name.

    Args:
        facts: of the run.
        peptides: what it was trained on.
        weights: what stands beside the card.
    """
    found = terms.of_csv(peptides.source)
    row = facts.validation
    measured = [each for each in figures.FIGURES if row.get(each.key) is not None]
    trained = peptides.trained_targets
    names = [name for name, told in zip(peptides.vocabulary, trained, strict=True) if told]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent), finalize=_shown, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    data = f"{found.name or 'a data set of unknown origin'}: {len(peptides):,} peptides"
    provenance = [("model.safetensors (SHA-256)", weights.sha256), *digests(facts)]
    provenance += [("exactness", facts.replay)] if facts.replay else []
    text = environment.get_template(TEMPLATE.name).render(
        front=Markup(_front(facts, peptides, found, measured)), run=Markup(facts.record.name),
        verdict=verdict(facts), size=f"{weights.parameters:,}", version=__version__,
        weights=weights.words, data=data, targets=f"{len(trained):,}", trained=f"{len(names):,}",
        target=Markup(next((name for name in names if _NAME.fullmatch(name)), "NAME")),
        figures=[each for each in page.figure_rows(facts) if each[2] != NONE],
        terms=found, provenance=provenance, unmeasured=facts.unmeasured,
    )  # fmt: skip
    cited = [terms.MIMIR, *found.citations]
    if not found.citations:
        cited.append("% What to cite for the data is unknown: whoever built the data set knows.\n")
    return {CARD: text.encode(), CITATION: "\n".join(cited).encode()}


def _front(
    facts: Facts, peptides: Peptides, found: terms.Terms, measured: list[figures.Figure]
) -> str:
    """The metadata, as YAML. No `datasets`: that key takes names on the hub, and ours is none."""
    dataset = {"type": "other", "name": f"held-out part of data {peptides.digest[:12]}"}
    metrics = [
        {"type": METRIC, "name": f"{each.label}, nats per residue",
         "value": round(facts.validation[each.key], 4)}
        for each in measured
    ]  # fmt: skip
    front: dict[str, Any] = {
        "license": "unknown", "tags": list(TAGS), "metrics": [METRIC],
    }  # fmt: skip
    if metrics:
        task = {"type": "other", "name": "likelihood of held-out peptides"}
        result = {"task": task, "dataset": dataset, "metrics": metrics}
        front["model-index"] = [{"name": facts.record.name, "results": [result]}]
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=True)


def _shown(value: Any) -> Any:
    """A value as text that Markdown shows and does not obey: no markup, no link, one line.

    An address becomes a code span, which is no link and reads well in the file itself.
    """
    if isinstance(value, Markup):
        return value
    text = " ".join(visible(str(value)).split())
    parts = _ADDRESS.split(text)  # each second one is an address
    return "".join(f"`{part}`" if n % 2 else _plain(part) for n, part in enumerate(parts))


def _plain(text: str) -> str:
    text = _MARKS.sub(r"\\\1", html.escape(text, quote=False))
    return text.replace("://", "&#58;//").replace("www.", "www&#46;").replace("@", "&#64;")
