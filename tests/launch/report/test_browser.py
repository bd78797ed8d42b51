"""The reports in a real browser: it fetches nothing, fits a phone, can be read, and prints."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.commands.report_steps import Made, of_runs, of_sweep
from launch.report.curves import MOST_DRAWN
from mimir.runs.figures import FIGURES
from mimir.runs.parts import read_metrics
from mimir.runs.status import read_head
from mimir.runs.store import open_store
from tests.browser import PROGRAM, Browser, browser
from tests.e2e import jobs
from tests.launch.report.made import begun, swept, train

CI = os.environ.get("MIMIR_CI", "") == "1"
pytestmark = pytest.mark.skipif(PROGRAM is None and not CI, reason="apt-get install chromium")

CONTRAST = """(() => {
  const numbers = (colour) => colour.match(/[0-9.]+/g).map(Number)
  const light = (colour) => numbers(colour).slice(0, 3).map((c) => c / 255)
    .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0)
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor
      if (numbers(colour)[3] !== 0) return colour
    }
    return "rgb(255, 255, 255)"
  }
  const bad = []
  for (const node of document.body.querySelectorAll("*")) {
    const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.data.trim())
    const line = node.matches("svg path.curve, svg path.m, svg path.n, svg path.o, circle")
    if ((!own && !line) || node.matches("title, desc")) continue
    const style = getComputedStyle(node)
    const ink = line ? style.color : node.ownerSVGElement ? style.fill : style.color
    const [a, b] = [light(ink), light(behind(node))].sort()
    const ratio = (b + 0.05) / (a + 0.05)
    if (ratio < (line ? 3 : 4.5)) bad.push([node.tagName, node.textContent.slice(0, 20), ratio])
  }
  return bad
})()"""
"""Texts and lines that stand out too little from what is behind them (WCAG 2.1: 1.4.3, 1.4.11)."""
NAMELESS = """[...document.querySelectorAll("svg:not([aria-hidden])")].filter((one) =>
  !one.getAttribute("aria-label") && !one.querySelector("title")).length
  + document.querySelectorAll("table:not(:has(th[scope]))").length"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


REAL = {"max_steps": 16, "log_every": 4, "eval_every": 8, "eval_rows": 64, "threads": 1,
        "checkpoint_steps": 4, "preflight": "off"}  # fmt: skip


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The run's metrics, without going through the report."""
    store = open_store((folder / "store").as_uri())
    rows = read_metrics(store, "real", read_head(store, "real"))
    return [row for row in rows if row.get("val") is not None]


LONG = "a-long-name-of-a-run-that-stays-in-its-place"[:41]


def running(folder: Path) -> Made:
    return of_runs(train(begun(folder)), ["run"])


def done(folder: Path) -> Made:
    return of_runs(train(begun(folder), done=True), ["run"])


def real(folder: Path) -> Made:
    """A smoke run on the sample, trained here in two attempts: nothing of it is made up."""
    store = open_store((folder / "store").as_uri())
    jobs.submit_as(store, "real", "", REAL)
    assert not jobs.train(store, "real", 8)[0]
    assert jobs.train(store, "real")[0]
    return of_runs(store, ["real"])


def comparison(folder: Path) -> Made:
    """Three runs: one is done, one trains, one has not begun."""
    train(begun(folder, LONG, lr=1e-4), LONG, done=True)
    begun(folder, "third", seed=3)
    return of_runs(train(begun(folder, "other"), "other", better=0.1), [LONG, "other", "third"])


def crowd(folder: Path) -> Made:
    """As many runs as one page takes, with long names."""
    names = [f"{LONG[:39]}-{n}" for n in range(MOST_DRAWN)]
    for n, name in enumerate(names):
        store = train(begun(folder, name, lr=1e-4 * (1 + n), dim=16 + 4 * n), name, better=n / 50)
    return of_runs(store, names)


def sweep(folder: Path) -> Made:
    return of_sweep(swept(folder, 12), "lr")


@pytest.mark.parametrize("make", [running, done, comparison, crowd, sweep])
def test_the_page_in_a_browser(
    chromium: Browser, tmp_path: Path, make: Callable[[Path], Made]
) -> None:
    shown = tmp_path / "page.html"
    shown.write_bytes(make(tmp_path).content)
    check(chromium, shown)


def test_the_page_of_a_run_that_was_trained(chromium: Browser, tmp_path: Path) -> None:
    made = real(tmp_path)
    shown = tmp_path / "page.html"
    shown.write_bytes(made.content)
    check(chromium, shown)
    text = chromium.run("document.body.innerText")
    (row,) = [each for each in rows_of(tmp_path) if each["step"] == REAL["max_steps"]]
    assert made.verdict[0] in text
    assert "took all 16 steps" in text
    for figure in FIGURES:
        assert f"{row[figure.key]:.4f}" in text
    assert "UniProt" in text  # whom to cite for the sample
    assert "went on from" in text
    for marks, count in (("path.again", 4), ("path.curve", 1 + len(FIGURES))):
        found = f"document.querySelectorAll('svg[role=img] {marks}').length"
        assert chromium.run(found) == count, marks


def check(chromium: Browser, shown: Path) -> None:
    """What holds for each page."""
    for width in (360, 1200):
        for dark in (False, True):
            chromium.open(shown, width, dark=dark)
            assert chromium.requests == []
            assert chromium.run("document.documentElement.scrollWidth") <= width
            assert chromium.run("getComputedStyle(document.body).backgroundColor") == (
                "rgb(18, 22, 27)" if dark else "rgb(255, 255, 255)"
            )
            assert chromium.run(CONTRAST) == []
    assert chromium.run(NAMELESS) == 0
    assert chromium.run("document.scripts.length + document.images.length") == 0
    # Wide things may scroll within themselves on a phone, but nothing here is wider.
    chromium.open(shown, 360)
    wide = "[...document.querySelectorAll('.wide, pre, figure')].filter((one) => one.scrollWidth"
    assert chromium.run(f"{wide} > one.clientWidth + 1).length") == 0
    assert 1 <= len(re.findall(rb"/Type /Page\b(?!s)", chromium.pdf())) <= 4
    assert chromium.requests == []
