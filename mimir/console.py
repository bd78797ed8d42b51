"""Standard output and standard error, through which all that a command prints goes.

Much of it quotes what others wrote: a machine's log, the reason that a document of a store gives, a
service's answer. So what would act on the terminal is made visible here, once, whoever prints it.
What draws on the terminal itself, such as a progress bar, asks for the stream below by `drawing`.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, TextIO, cast

from mimir.errors import BadInput
from mimir.text import visible


class SafeText:
    """A text stream whose text is made visible; all else is the stream's own.

    Characters that the stream's encoding lacks are written as escapes. Text that cannot be written
    is BadInput on standard output, and lost on standard error: there is nobody to tell.
    """

    def __init__(self, stream: TextIO, name: str) -> None:
        self.below = stream
        self._name = name

    def write(self, text: str) -> int:
        """Write text; the number of characters taken."""
        shown = visible(text)
        with self._told():
            try:
                self.below.write(shown)
            except UnicodeEncodeError:
                encoding = self.below.encoding
                self.below.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each text as it is."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is buffered."""
        with self._told():
            self.below.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            if self._name == "standard output":
                _close(self.below)
                raise BadInput(f"{self._name} cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def safe_output() -> Iterator[None]:
    """Let standard output and standard error show text safely, also a traceback that ends all."""
    before = sys.stdout, sys.stderr
    sys.stdout = _safe(before[0], "standard output")
    sys.stderr = _safe(before[1], "standard error")
    try:
        yield
    except Exception:  # any, because any traceback may quote a machine; it goes on its way
        sys.excepthook = _show
        raise
    finally:
        sys.stdout, sys.stderr = before


def drawing(stream: TextIO) -> TextIO:
    """The stream itself, for what moves the cursor and prints nothing that others wrote."""
    return stream.below if isinstance(stream, SafeText) else stream


@contextlib.contextmanager
def bar(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error; yields what to call with how much more is done.

    Nothing is made where standard error is no terminal: tqdm's bars share one lock in a process,
    and a bar that nobody sees would wait for it too. Sizes in units of "B" are shown as KB, MB, ….
    """
    screen = drawing(sys.stderr)
    if not screen.isatty():
        yield lambda done: None
        return
    from tqdm import tqdm

    with tqdm(
        total=total, desc=what, unit=unit, unit_scale=unit == "B", leave=False, file=screen
    ) as shown:

        def advance(done: int) -> None:
            shown.update(done)

        yield advance


def _safe(stream: TextIO | None, name: str) -> TextIO:
    if stream is None:  # closed before we began
        stream = open(os.devnull, "w")  # noqa: SIM115 - lives as long as the process
    return stream if isinstance(stream, SafeText) else cast(TextIO, SafeText(stream, name))


def _close(stream: TextIO) -> None:
    """Let what is still buffered go nowhere, so that Python does not complain of it at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(visible("".join(traceback.format_exception(kind, error, trace))), file=sys.stderr)
