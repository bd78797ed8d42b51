"""Colours and lines of the report, of the picture of the curves, and of the notebook.

Lines that stand together differ in their dashes too, so that they can be told apart without colour.
"""

from collections.abc import Mapping

FONT, MONO = "system-ui,sans-serif", "ui-monospace,monospace"
"""CSS's names of the fonts of text, and of code and logs."""

LIGHT: Mapping[str, str] = {
    "page": "#fff", "text": "#1b1f24", "soft": "#57606a", "line": "#d0d7de", "card": "#f6f8fa",
    "a": "#57606a", "b": "#0b5cad", "c": "#b3261e", "d": "#1b7a3d", "again": "#8250df",
    "real": "#c3cbd3",
}  # fmt: skip
"""soft: text that explains; line: rules and grids; a to d: curves; again: where an attempt went on;
real: bars of real peptides."""
DARK: Mapping[str, str] = {
    "page": "#12161b", "text": "#e6edf3", "soft": "#a3b0bd", "line": "#39424d", "card": "#1b2129",
    "a": "#a3b0bd", "b": "#6cb2ff", "c": "#ff8a80", "d": "#6fd08c", "again": "#c8a6ff",
    "real": "#48525d",
}  # fmt: skip
PAPER: Mapping[str, str] = {
    **LIGHT, "text": "#000", "soft": "#444", "line": "#bbb", "card": "#fff"
}  # fmt: skip

LOOKS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "a": ("a", ()), "b": ("b", ()), "c": ("c", (7, 3)), "d": ("d", (2, 3)),
    "m": ("soft", (9, 4)), "n": ("soft", (2, 3)), "o": ("soft", (9, 3, 2, 3)),
}  # fmt: skip
"""Of each kind of line: its colour, and its dashes and gaps (none: solid). a: training; b, c, d:
held-out figures in their order; m, n, o: baselines in theirs."""
TRAINING, HELD_OUT, BASELINES = "a", "bcd", "mno"


def variables(colours: Mapping[str, str]) -> str:
    """The colours as CSS variables."""
    return ";".join(f"--{name}:{value}" for name, value in colours.items())
