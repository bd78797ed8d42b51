"""One run as a few lines that are drawn again and again, and the screen that they are drawn on."""

import shutil
from collections.abc import Sequence
from types import TracebackType
from typing import TextIO

from launch.pricing import bill as cost
from launch.ui.runs import machine_text, progress_text, state_text
from mimir.console import WARN, Styled, cut, drawing, joined, painted, styled, styled_line
from mimir.runs.status import Status
from mimir.text import countdown

BAR = 10
"""Characters of the bar of progress."""
_LEVELS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], most: int = 24) -> str:
    """The last values as one character each, from the least to the greatest of them."""
    shown = list(values)[-most:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(_LEVELS[min(7, int(8 * (value - low) / span))] for value in shown)


def lines_of(status: Status, losses: Sequence[float], held_out: Sequence[float]) -> list[str]:
    """A run for the live view. losses, held_out: as seen one after another."""
    why = f" ({status.reason})" if status.reason else ""
    found: list[str] = [joined([f"{status.run}: ", state_text(status), why])]
    share = min(1.0, status.step / status.total_steps) if status.total_steps else 0.0
    bar = "#" * round(BAR * share)
    found.append(f"  [{bar:<{BAR}}] {progress_text(status)}")
    for name, value, seen in (("loss", status.loss, losses), ("held-out", status.val, held_out)):
        if value is not None:
            found.append(f"  {name:<9}{value:.4f}  {sparkline(seen)}")
    current = status.attempts[-1] if status.attempts else None
    if current is not None:
        left = current.order.deadline - status.at if current.order else 0.0
        ends = f", deadline in {countdown(left)}" if left > 0 else ""
        found.append(f"  attempt  {current.attempt} on {machine_text(current.machine)}{ends}")
    if bill := cost.line(cost.bill(status, status.at)):
        found.append(f"  cost     {bill}")
    if status.telemetry is not None:
        found += [f"  {what:<9}{value}" for what, value in status.telemetry.words()]
        found += [styled(f"  warning  {e.text}", WARN) for e in status.telemetry.warnings]
    found += [styled(f"  {each}", WARN) for each in (status.warning, status.damage) if each]
    return [styled_line(line) for line in found]


def fitted(line: str, most: int) -> Styled:
    """The line in at most so many characters: whole fields are left out at its end, or whole words
    where a field takes half of it, so that no number is cut."""
    if len(line) <= most:
        return cut(line, most)
    end = line.rfind(", ", 0, most + 2)
    if end < most // 2:
        end = line.rfind(" ", 0, most + 1)
    return cut(line, len(line[:end].rstrip()) if end > 0 else most)


class LiveScreen:
    """Shows lines in place of those before; use as a context manager.

    On a terminal they have a screen of their own, which is given back at the end, and are cut to
    its size at each drawing, so that a window may change. Elsewhere each line that is new is
    printed once.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = drawing(stream)
        self._drawn = self._stream.isatty()
        self._before: list[str] = []

    def __enter__(self) -> "LiveScreen":
        if self._drawn:
            self._write("\x1b[?1049h\x1b[?25l")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._drawn:
            self._write("\x1b[?25h\x1b[?1049l")

    def show(self, lines: Sequence[str]) -> None:
        """Show these lines, which `styled_line` has made."""
        if self._drawn:
            width, height = shutil.get_terminal_size()
            fit = [painted(fitted(line, width - 1), self._stream) for line in lines[: height - 1]]
            self._write("\x1b[H\x1b[J" + "\r\n".join(fit))
        else:
            new = [line for line in lines if line not in self._before]
            self._write("".join(f"{painted(line, self._stream)}\n" for line in new))
        self._before = list(lines)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
