"""Shows a run in a notebook cell while it trains: last lines, loss curve, samples."""

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from mimir.data.baselines import Baselines
from mimir.data.peptides import of_run
from mimir.errors import StoreError
from mimir.output import palette, plot
from mimir.runs.parts import metrics_row, read_metrics, read_parts
from mimir.runs.record import RunRecord
from mimir.runs.status import read_head
from mimir.runs.store import Store
from mimir.text import as_html

LINES = 12
LINE_EVERY = 20.0
"""Seconds between pictures: one takes half a second of the CPU that training needs too."""


class Screen(Protocol):
    """Where a board shows itself: two things, each replaced by the next one."""

    def text(self, page: str) -> None:
        """Show HTML."""

    def image(self, png: bytes) -> None:
        """Show a picture."""


class CellScreen:
    """The output of the notebook's running cell."""

    def __init__(self) -> None:
        from IPython.display import HTML, display

        self._text = display(HTML(""), display_id=True)
        self._image: Any = None

    def text(self, page: str) -> None:
        from IPython.display import HTML

        self._text.update(HTML(page))

    def image(self, png: bytes) -> None:
        from IPython.display import Image, display

        if self._image is None:
            self._image = display(Image(png), display_id=True)
        else:
            self._image.update(Image(png))


class Board:
    """Follows one attempt of a run.

    Args:
        record: of the run.
        attempt: whose metrics are followed; earlier ones are read once.
    """

    def __init__(
        self, store: Store, record: RunRecord, attempt: int, screen: Screen,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._store, self._record, self._attempt = store, record, attempt
        self._screen, self._clock = screen, clock
        self._lines: list[str] = []
        self._progress, self._note = "", ""
        self._lock = threading.Lock()
        head = read_head(store, record.name)
        self.rows = {row["step"]: row for row in read_metrics(store, record.name, head)}
        self._restarts = sorted({*(step for _, step in head.lineage[1:]), head.step} - {0})
        self._number, self._drawn_at, self._shown = 0, -LINE_EVERY, ""
        self._baselines = self._measured()

    def _measured(self) -> Baselines | None:
        if self._record.data is None:
            return None
        return of_run(self._store, self._record).baselines

    def line(self, line: str) -> None:
        """Take a line that the worker printed; from any thread."""
        with self._lock:
            if line.startswith("step "):
                self._progress = line
            elif line.strip():
                self._lines = [*self._lines, line][-LINES:]

    def note(self, line: str) -> None:
        """Keep this line below the others until the next note; from any thread."""
        with self._lock:
            self._note = line

    @property
    def last_line(self) -> str:
        """The newest line that is not progress."""
        return self._lines[-1] if self._lines else ""

    def refresh(self, *, now: bool = False) -> None:
        """Show what is new; the curve every now and then, or `now`."""
        due = now or self._clock() - self._drawn_at >= LINE_EVERY
        grown = due and self._grow()
        with self._lock:
            shown = "\n".join(filter(None, [*self._lines, self._progress, self._note]))
        style = f"font:.85rem/1.5 {palette.MONO};white-space:pre-wrap"
        page = f'<pre style="{style}">{as_html(shown)}</pre>{self._samples()}'
        if page != self._shown:
            self._shown = page
            self._screen.text(page)
        if due:
            self._drawn_at = self._clock()
        if self.rows and (grown or now):
            rows = [self.rows[step] for step in sorted(self.rows)]
            self._screen.image(plot.loss_curve(rows, self._baselines, self._restarts))

    def _grow(self) -> bool:
        """Fetch new rows of metrics; False if there are none, or the store is away just now."""
        before = self._number
        try:
            for number, text in read_parts(
                self._store, self._record.name, self._attempt, "metrics", after=self._number
            ):
                for row in filter(None, map(metrics_row, text.split("\n"))):
                    self.rows.setdefault(row["step"], {}).update(row)
                self._number = number
        except StoreError:
            return False
        return self._number > before

    def _samples(self) -> str:
        drawn = [row for row in self.rows.values() if row.get("samples")]
        if not drawn:
            return ""
        newest = max(drawn, key=lambda row: int(row["step"]))
        words = as_html(" ".join(newest["samples"]))
        return f"<p>Samples at step {newest['step']:,}: <code>{words}</code></p>"
