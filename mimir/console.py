"""Standard output and standard error, through which all that a command prints goes.

Much of it quotes what others wrote: a machine's log, the reason that a document of a store gives, a
service's answer. So what would act on the terminal is made visible here, once, whoever prints it.
What draws on the terminal itself, such as a progress bar, asks for the stream below by `drawing`.

Sentences name commands as `python -m launch …` and `python -m mimir …`. Whoever called the script
`mimir` is shown that name, here too: its Python may be none that `python` finds.

Colour is added here alone, by `show`, after its text was made visible: a text that others wrote has
none. It is left out where nobody looks and where the user said so (`has_colour`).
"""

import contextlib
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, TextIO, cast

from mimir.errors import BadInput
from mimir.text import one_line, size, visible

_COMMAND = re.compile(r"(?<![\w./-])python -m (?:mimir resume (?=\S)|(?:launch|mimir)(?![\w.]))")
"""A command of ours in a sentence. `python -m mimir resume NAME` goes on in this terminal, which
`mimir resume NAME` does not, but `mimir train NAME`."""
GOOD, WARN, BAD, FAINT, BOLD = "32", "33", "31", "2", "1"
"""Styles, as numbers of ECMA-48's SGR: a terminal's own green, yellow and red, faint, bold."""

LINE_EVERY = 10.0
"""Seconds between two lines of progress where no terminal is, at least."""


class SafeText:
    """A text stream whose text is made visible; all else is the stream's own.

    as_script: name commands as the script `mimir` does.

    Characters that the stream's encoding lacks are written as escapes. Text that cannot be written
    is BadInput on standard output, and lost on standard error: there is nobody to tell.
    """

    def __init__(self, stream: TextIO, name: str, as_script: bool = False) -> None:
        self.below = stream
        self._name = name
        self._as_script = as_script

    def write(self, text: str) -> int:
        """Write text; the number of characters taken."""
        self.write_safe(visible(self.spelled(text)))
        return len(text)

    def spelled(self, text: str) -> str:
        """The text, with its styles, and with its commands as they are called here."""
        if not self._as_script:
            return text
        if isinstance(text, Styled):
            return Styled((as_script(piece), style) for piece, style in text.pieces)
        return as_script(text)

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
    return part(text, 0, most)


def part(text: str, start: int, end: int) -> Styled:
    """As `text[start:end]`, neither of them negative, with the styles."""
    made = []
    for piece, style in pieces_of(text):
        made.append((piece[max(0, start) : max(0, end)], style))
        start, end = start - len(piece), end - len(piece)
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
    if isinstance(stream, SafeText):
        stream.write_safe(painted(stream.spelled(text), stream.below) + "\n")
    else:
        stream.write(painted(text, stream) + "\n")
    stream.flush()


def columns_here(usual: int) -> int:
    """$COLUMNS, or the columns of the terminal on standard output; `usual` where there is none.

    As shutil.get_terminal_size, which imports seven modules more: `--help` is to answer at once.
    """
    with contextlib.suppress(KeyError, ValueError):
        if (told := int(os.environ["COLUMNS"])) > 0:
            return told
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or usual  # type: ignore[union-attr]
    return usual


def width_of(stream: TextIO) -> int | None:
    """Columns of the terminal that shows the stream; None if there is none."""
    if not drawing(stream).isatty():
        return None
    import shutil  # here, because most commands need none of it

    return shutil.get_terminal_size().columns


def as_script(text: str) -> str:
    """The text with its commands as the script `mimir` has them."""

    def spelled(found: re.Match[str]) -> str:
        return "mimir train " if "resume" in found[0] else "mimir"

    return _COMMAND.sub(spelled, text)


@contextlib.contextmanager
def safe_output(*, as_script: bool = False) -> Iterator[None]:
    """Let standard output and standard error show text safely, also a traceback that ends all.

    as_script: name commands as the script `mimir` does.
    """
    before = sys.stdout, sys.stderr
    sys.stdout = _safe(before[0], "standard output", as_script)
    sys.stderr = _safe(before[1], "standard error", as_script)
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

    Where standard error is no terminal, a line every LINE_EVERY s at most: tqdm's bars share one
    lock in a process, and a bar that nobody sees would wait for it too. Sizes in units of "B" are
    shown as KB, MB, ….
    """
    screen = drawing(sys.stderr)
    if not screen.isatty():
        yield _lines(what, total, unit)
        return
    from tqdm import tqdm

    with tqdm(
        total=total, desc=what, unit=unit, unit_scale=unit == "B", leave=False, file=screen
    ) as shown:

        def advance(done: int) -> None:
            shown.update(done)

        yield advance


def _lines(what: str, total: int, unit: str) -> Callable[[int], None]:
    """As `bar`, for a log: the first line comes after LINE_EVERY s."""
    done, shown = 0, time.monotonic()

    def advance(more: int) -> None:
        nonlocal done, shown
        done += more
        if total and time.monotonic() - shown >= LINE_EVERY:
            shown = time.monotonic()
            count = f"{done / 1e6:.1f} of {size(total)}"
            if unit != "B":
                count = f"{done:,} of {total:,} {unit}s"
            print(f"{what}: {count} ({done / total:.0%})", file=sys.stderr, flush=True)

    return advance


def _safe(stream: TextIO | None, name: str, as_script: bool) -> TextIO:
    if stream is None:  # closed before we began
        stream = open(os.devnull, "w")  # noqa: SIM115 - lives as long as the process
    if isinstance(stream, SafeText):
        return stream
    return cast(TextIO, SafeText(stream, name, as_script))


def _close(stream: TextIO) -> None:
    """Let what is still buffered go nowhere, so that Python does not complain of it at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(visible("".join(traceback.format_exception(kind, error, trace))), file=sys.stderr)
