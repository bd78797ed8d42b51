"""Makes tables and sentences fit a narrow terminal."""

import re
import textwrap
from collections.abc import Sequence
from itertools import zip_longest

from launch.ui.runs import table, widths_of
from mimir.console import Styled, joined, part, pieces_of

_LEAST = 20
"""Characters that a column of sentences needs."""
_LEAST_NAME = 16
"""Characters that a column of names keeps beside values."""
_WORD = re.compile(r"`[^`]*`\S*|python -m .*|\S+")
"""What stays in one line. A command does, because one in two lines cannot be copied."""
_NAME = re.compile(r" *\S+(?: \S+)*? {2,}")
"""Before a value: "  labels       "."""
ELSEWHERE = "`--json`, or a pipe, has them"


def width_of_rows(rows: Sequence[Sequence[str]]) -> int:
    """Characters of the longest line of a table of these rows."""
    return sum(widths_of(rows)) + 2 * (len(rows[0]) - 1)


def fitted(rows: Sequence[Sequence[str]], width: int | None, worth: Sequence[str]) -> Styled:
    """A table, the first row its head; what does not fit is left out, and named below it. What
    must not be left out and does not fit either follows as in `in_blocks`.

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
    return _with_note(in_blocks([[row[n] for n in kept] for row in rows], width), without, width)


def in_blocks(rows: Sequence[Sequence[str]], width: int | None) -> Styled:
    """A table whose first column names its rows; columns that do not fit follow in further tables,
    each with the first column. The cells of a single one that does not fit have several lines."""
    rest, blocks = list(range(1, len(rows[0]))), []
    while rest:
        here = [0, rest.pop(0)]
        while rest:
            wider = [[row[n] for n in (*here, rest[0])] for row in rows]
            if width is not None and width_of_rows(wider) > width:
                break
            here.append(rest.pop(0))
        block = [[row[n] for n in here] for row in rows]
        if width is not None and len(here) == 2 and width_of_rows(block) > width:
            block = _in_lines(block, width)
        blocks.append(table(block))
    return joined(blocks, "\n\n")


def _in_lines(rows: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """Rows of two cells, with a row for each line that the cells need in this width."""
    name, value = widths_of(rows)
    left = min(name, max(width - 2 - value, min(_LEAST_NAME, width // 2)))
    right = max(1, width - 2 - left)
    made: list[list[str]] = []
    for row in rows:
        cells = zip_longest(_cell(row[0], left), _cell(row[1], right), fillvalue="")
        made += [list(line) for line in cells]
    return made


def _cell(text: str, width: int) -> list[Styled]:
    """Its lines, the last resort being a word in two."""
    return [
        part(line, at, at + width)
        for line in _lines(text, width)
        for at in range(0, max(1, len(line)), width)
    ]


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


def folded(text: str, width: int | None) -> Styled:
    """A text of names and their values, with its styles: a line that is too long goes on below its
    value, broken between words. A command stays whole."""
    if width is None:
        return joined([text])
    lines: list[list[tuple[str, str]]] = [[]]
    for piece, style in pieces_of(text):
        first, *more = piece.split("\n")
        lines[-1].append((first, style))
        lines += [[(each, style)] for each in more]
    return joined((each for line in lines for each in _lines(Styled(line), width)), "\n")


def _lines(line: str, width: int) -> list[Styled]:
    """One line in as many as it needs, with its styles."""
    name = _NAME.match(line)
    fits = name is not None and name.end() <= width // 2
    indent = name.end() if name and fits else len(line) - len(line.lstrip(" "))
    made: list[Styled] = []
    start = end = 0
    for word in _WORD.finditer(line):
        room = width - (indent if made else 0)
        beside = end > indent or (end > 0 and len(word[0]) <= width)
        if word.end() - start > room and beside:
            made.append(part(line, start, end))
            start = word.start()
        end = word.end()
    first, *more = [*made, part(line, start, len(line))]
    # A word that is longer than its room begins further to the left.
    return [first, *(joined([" " * max(0, min(indent, width - len(e))), e]) for e in more)]
