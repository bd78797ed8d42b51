"""Tables and texts in terminals of few columns."""

from collections import Counter

import pytest

from launch.ui import narrow
from mimir.console import WARN, joined, styled

STATUS = joined(
    [
        "some-run: done",
        "  labels       batch=sixteen, owner=somebody, project=protease-binders-2026, status=new",
        styled("  warning      the disk of this machine is nearly full", WARN),
        "  attempts",
        "    1 to 3  from step 0  local process 31690  finished at step 33",
        "",
        "To fetch the model: python -m launch pull some-run --store file:///somewhere/else",
    ],
    "\n",
)


def test_a_text_goes_on_below_its_values() -> None:
    shown = narrow.folded(STATUS, 40)
    assert shown.splitlines() == [
        "some-run: done",
        "  labels       batch=sixteen,",
        "               owner=somebody,",
        "          project=protease-binders-2026,",
        "               status=new",
        "  warning      the disk of this machine",
        "               is nearly full",
        "  attempts",
        "    1 to 3  from step 0  local process",
        "            31690  finished at step 33",
        "",
        "To fetch the model:",
        "python -m launch pull some-run --store file:///somewhere/else",
    ]
    assert ("is nearly full", WARN) in shown.pieces


@pytest.mark.parametrize("width", [None, 200])
def test_a_text_that_fits_stays_as_it_is(width: int | None) -> None:
    shown = narrow.folded(STATUS, width)
    assert shown == STATUS
    assert [style for text, style in shown.pieces if "disk" in text] == [WARN]


def test_a_command_in_backticks_stays_whole() -> None:
    text = "a machine is still paid for: `python -m launch reap --machine m` ends it"
    assert narrow.folded(text, 45).splitlines() == [
        "a machine is still paid for:",
        "`python -m launch reap --machine m` ends it",
    ]


ROWS = [
    ["", "one", "another"], ["a name of several words", "0.1", "0.2"], ["  beneath it", "x", "y"],
    ["label project", "protease-binders", "first, second, third and fourth"],
]  # fmt: skip
VALUES = [cell for row in ROWS for cell in row[1:]]


@pytest.mark.parametrize("width", [60, 40, 36, 30, 24, 12])
def test_a_table_of_any_width(width: int) -> None:
    lines = narrow.in_blocks(ROWS, width).splitlines()
    assert max(map(len, lines)) <= width
    kept = Counter("".join(lines))
    assert all(kept[letter] >= n for letter, n in Counter("".join(VALUES)).items() if letter != " ")


def test_cells_that_do_not_fit_have_several_lines() -> None:
    assert narrow.in_blocks(ROWS, 36).splitlines() == [
        "                   one",
        "a name of several  0.1",
        "words",
        "  beneath it       x",
        "label project      protease-binders",
        "",
        "               another",
        "a name of      0.2",
        "several words",
        "  beneath it   y",
        "label project  first, second,",
        "               third and fourth",
    ]


def test_what_must_not_be_left_out_follows_below() -> None:
    rows = [["NAME", "STATE", "LOSS"], ["a-long-name-of-a-run", "interrupted", "2.5"]]
    assert narrow.fitted(rows, 33, ["LOSS"]).splitlines() == [
        "NAME                  STATE",
        "a-long-name-of-a-run  interrupted",
        "too narrow for LOSS; `--json`, or",
        "a pipe, has them",
    ]
    assert narrow.fitted(rows, 25, ["LOSS"]).splitlines()[:3] == [
        "NAME          STATE",
        "a-long-name-  interrupted",
        "of-a-run",
    ]
