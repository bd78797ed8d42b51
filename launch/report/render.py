"""Makes a page of a template: one HTML file that runs nothing and fetches nothing.

All text is escaped here, once: the templates print no value that has not gone through `_shown`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from mimir import __version__
from mimir.output import palette
from mimir.text import visible

TEMPLATES = Path(__file__).parent
_CODE = re.compile("`([^`]+)`")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The page runs nothing and fetches nothing, whatever it holds."""


def render(
    template: str, title: str, kind: str, source: str, verdict: Sequence[str],
    summary: Sequence[tuple[str, str]], **values: Any,
) -> bytes:  # fmt: skip
    """A page as UTF-8.

    Args:
        template: a file beside this one, which extends base.html.
        title: what the page is of. kind: what that is, such as "a Mimir run". source: what it
            was made from.
        verdict: sentences, the most important first.
        summary: what is to be seen at a glance; what has no value is left out.
        values: what else the template prints.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, finalize=_shown,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["code"] = _with_code
    text = environment.get_template(template).render(
        title=title, kind=kind, source=source, verdict=verdict,
        summary=[(what, value) for what, value in summary if value], policy=POLICY,
        version=__version__, palette=palette, **values,
    )  # fmt: skip
    return text.encode()


def _with_code(value: Any) -> Markup:
    """As `_shown`, escaped; what stands between backticks is shown as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(_shown(value)))))


def _shown(value: Any) -> Any:
    """Text with what would hide or change other text made visible; the environment escapes it."""
    if value is None:
        return "–"
    return value if isinstance(value, Markup) else visible(str(value))
