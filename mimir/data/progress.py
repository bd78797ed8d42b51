"""Shows the progress of a command of several stages: a bar on a terminal, else plain lines."""

import sys
import time
from types import TracebackType
from typing import Any, TextIO

from tqdm import tqdm

from mimir.console import drawing
from mimir.text import duration


class Progress:
    """Reports stages to `stream` (stderr unless given); use as a context manager."""

    def __init__(self, title: str, stages: int, stream: TextIO | None = None) -> None:
        self._title = title
        self._stages = stages
        self._stream = sys.stderr if stream is None else stream
        self._done = 0
        self._began = time.monotonic()
        self._bar: tqdm[Any] | None = None
        if self._stream.isatty():
            self._bar = tqdm(total=stages, desc=title, file=drawing(self._stream), leave=False)

    def stage(self, text: str) -> None:
        """A new stage begins."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)
            self._bar.update(0 if self._done == 0 else 1)
        else:
            seconds = time.monotonic() - self._began
            print(
                f"{self._title} {self._done + 1}/{self._stages} {text} ({duration(seconds)})",
                file=self._stream,
                flush=True,
            )
        self._done += 1

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
