"""Sentences and progress for people, on stderr: stdout is for what was asked for."""

import sys
import time
from types import TracebackType
from typing import Any, TextIO

from mimir.console import drawing, show, styled_line
from mimir.text import one_line


def say(*lines: str) -> None:
    """A sentence on stderr, or several lines, with their styles."""
    for line in lines:
        show(styled_line(line), sys.stderr)


class Waiting:
    """One line that tells what is waited for; use as a context manager.

    On a terminal the line is redrawn with the seconds that have passed; elsewhere each new
    text is printed once.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = drawing(sys.stderr if stream is None else stream)
        self._drawn = self._stream.isatty()
        self._text = ""
        self._began = time.monotonic()
        self._turn = 0

    def __enter__(self) -> "Waiting":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._drawn and self._turn:
            print("\r\x1b[K", end="", file=self._stream, flush=True)

    def tick(self, text: str) -> None:
        """Still waiting, for this."""
        text = one_line(text)
        if self._drawn:
            self._turn += 1
            sign = "|/-\\"[self._turn % 4]
            seconds = time.monotonic() - self._began
            line = f"\r\x1b[K{sign} {text} ({seconds:.0f} s)"
            print(line, end="", file=self._stream, flush=True)
        elif text != self._text:
            print(text, file=self._stream, flush=True)
        self._text = text


class Transfers:
    """A progress bar for each object that is fetched; no bar where there is no terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = drawing(sys.stderr if stream is None else stream)
        self._bars: list[Any] = []

    def __enter__(self) -> "Transfers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for bar in self._bars:
            bar.close()

    def begin(self, what: str, size: int) -> Any:
        """What to call with the bytes done. Nothing is drawn where nobody looks."""
        if not self._stream.isatty():
            return _nothing
        from tqdm import tqdm

        bar = tqdm(total=size, desc=what, unit="B", unit_scale=True, file=self._stream)
        self._bars.append(bar)
        return bar.update


def _nothing(done: int) -> None:
    pass
