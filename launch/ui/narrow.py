"""Makes tables and sentences fit a narrow terminal."""

import textwrap
from collections.abc import Sequence

from launch.ui.runs import table, widths_of
from mimir.console import Styled, joined

_LEAST = 20
"""Characters that a column of sentences needs."""
ELSEWHERE = "`--json`, or a pipe, has them"


def width_of_rows(rows: Sequence[Sequence[str]]) -> int:
    """Characters of the longest line of a table of these rows."""
    return sum(widths_of(rows)) + 2 * (len(rows[0]) - 1)


def fitted(rows: Sequence[Sequence[str]], width: int | None, worth: Sequence[str]) -> Styled:
    """A table, the first row its head; what does not fit is left out, and named below it.

    Args:
        rows: of cells.
        width: of the terminal, in characters; None for no limit.
        worth: columns in the order in which a narrow terminal does without them.
    """
    head = list(rows[0])
    kept = list(range(len(head)))
    without: list[str] = []
    for name in worth:
        if width is None or width_of_rows([[row[n] for n in kept] for row in rows]) <= width:
            break
        if name in head and head.index(name) in kept:
            kept.remove(head.index(name))
            without.append(name)
    return _with_note(table([[row[n] for n in kept] for row in rows]), without, width)


def in_blocks(rows: Sequence[Sequence[str]], width: int | None) -> Styled:
    """A table whose first column names its rows; columns that do not fit follow in further tables,
    each with the first column."""
    rest, blocks = list(range(1, len(rows[0]))), []
    while rest:
        here = [0, rest.pop(0)]
        while rest:
            wider = [[row[n] for n in (*here, rest[0])] for row in rows]
            if width is not None and width_of_rows(wider) > width:
                break
            here.append(rest.pop(0))
        blocks.append(table([[row[n] for n in here] for row in rows]))
    return joined(blocks, "\n\n")


def hanging(rows: Sequence[Sequence[str]], width: int | None, worth: Sequence[str]) -> Styled:
    """A table whose last column holds sentences, which go on below themselves where the terminal
    ends. worth: columns in the order in which it does without them, until they have room."""
    last = len(rows[0]) - 1
    kept = list(range(last))

    def before() -> int:
        return sum(each + 2 for each in widths_of([[row[n] for n in kept] for row in rows]))

    without = []
    for name in worth:
        if width is None or width - before() >= _LEAST:
            break
        kept.remove(list(rows[0]).index(name))
        without.append(name)
    room = None if width is None else max(_LEAST, width - before())
    made: list[list[str]] = []
    for row in rows:
        first, *more = wrapped(row[last], room).split("\n")
        made.append([*(row[n] for n in kept), first])
        made += [[*("" for _ in kept), line] for line in more]
    return _with_note(table(made), without, width)


def _with_note(shown: Styled, without: Sequence[str], width: int | None) -> Styled:
    note = wrapped(f"too narrow for {', '.join(without)}; {ELSEWHERE}", width)
    return joined([shown, note], "\n") if without else shown


def wrapped(sentence: str, width: int | None) -> str:
    """The sentence in lines of at most this width, broken between words; as it is without one."""
    if width is None or len(sentence) <= width:
        return sentence
    return textwrap.fill(sentence, width, break_long_words=False, break_on_hyphens=False)
