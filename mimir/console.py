"""Standard output and standard error, through which all that a command prints goes.

Much of it quotes what others wrote: a machine's log, the reason that a document of a store gives, a
service's answer. So what would act on the terminal is made visible here, once, whoever prints it.
What draws on the terminal itself, such as a progress bar, asks for the stream below by `drawing`.

Colour is added here alone, by `show`, after its text was made visible: a text that others wrote has
none. It is left out where nobody looks and where the user said so (`has_colour`).
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, TextIO, cast

from mimir.errors import BadInput
from mimir.text import one_line, visible

GOOD, WARN, BAD, FAINT, BOLD = "32", "33", "31", "2", "1"
"""Styles, as numbers of ECMA-48's SGR: a terminal's own green, yellow and red, faint, bold."""


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
        self.write_safe(visible(text))
        return len(text)

    def write_safe(self, shown: str) -> None:
        """Write what has been made visible, and may have colours."""
        with self._told():
            try:
                self.below.write(shown)
            except UnicodeEncodeError:
                encoding = self.below.encoding
                self.below.write(shown.encode(encoding, "backslashreplace").decode(encoding))

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


class Styled(str):
    """A text of which pieces have a style. For all but this module it is the text alone.

    pieces: texts with their styles, "" for none; the text is these, joined.
    """

    pieces: tuple[tuple[str, str], ...]

    def __new__(cls, pieces: Iterable[tuple[str, str]]) -> "Styled":
        kept = tuple(pieces)
        made = super().__new__(cls, "".join(text for text, _ in kept))
        made.pieces = kept
        return made


def styled(text: str, style: str) -> Styled:
    """The whole text in one style."""
    return Styled([(str(text), style)])


def pieces_of(text: str) -> tuple[tuple[str, str], ...]:
    """A text's pieces; of one without styles, itself."""
    return text.pieces if isinstance(text, Styled) else ((text, ""),)


def joined(parts: Iterable[str], between: str = "") -> Styled:
    """As `between.join(parts)`, with the styles of the parts."""
    made: list[tuple[str, str]] = []
    for number, part in enumerate(parts):
        made += [(between, "")] if number and between else []
        made += pieces_of(part)
    return Styled(made)


def styled_line(text: str) -> Styled:
    """As `one_line`, with the styles kept."""
    return Styled((one_line(piece), style) for piece, style in pieces_of(text))


def cut(text: str, most: int) -> Styled:
    """The first characters, with their styles."""
    made = []
    for piece, style in pieces_of(text):
        made.append((piece[: max(0, most)], style))
        most -= len(piece)
    return Styled(made)


def has_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether to show colours there: on a terminal, unless the environment says otherwise.

    NO_COLOR (no-color.org) goes before FORCE_COLOR and CLICOLOR_FORCE, these before CLICOLOR=0
    and TERM=dumb (bixense.com/clicolors). A variable that is empty says nothing.
    """
    if environ.get("NO_COLOR"):
        return False
    forced = [environ[name] for name in ("FORCE_COLOR", "CLICOLOR_FORCE") if environ.get(name)]
    if forced:
        return any(value != "0" for value in forced)
    if environ.get("CLICOLOR") == "0" or environ.get("TERM") == "dumb":
        return False
    return stream.isatty() and (os.name != "nt" or "WT_SESSION" in environ)


def painted(text: str, stream: TextIO) -> str:
    """The text made visible, with its colours if the stream has any."""
    if not isinstance(text, Styled) or not has_colour(stream, os.environ):
        return visible(text)
    return "".join(
        f"\x1b[{style}m{visible(piece)}\x1b[0m" if style and piece else visible(piece)
        for piece, style in text.pieces
    )


def show(text: str, stream: TextIO | None = None) -> None:
    """Print a text with its styles (None: to standard output)."""
    stream = sys.stdout if stream is None else stream
    shown = painted(text, drawing(stream)) + "\n"
    if isinstance(stream, SafeText):
        stream.write_safe(shown)
    else:
        stream.write(shown)
    stream.flush()


def width_of(stream: TextIO) -> int | None:
    """Columns of the terminal that shows the stream; None if there is none."""
    if not drawing(stream).isatty():
        return None
    import shutil  # here, because most commands need none of it

    return shutil.get_terminal_size().columns


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
