"""Runs Mimir's commands on a login node, as `mimir --on` does: streams them, hands on Ctrl-C.

The words of a command go through its standard input, never into the command line that others on
the login node can see (`ps`). What runs there is what `mimir cluster setup` installed; it says
under which process number it is ready for the words. Its shell is a login shell, because many
sites put Slurm's commands on PATH only there; what the profile prints is kept apart from the
command's own output.
"""

import base64
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from launch.cluster import RECEIVES
from launch.cluster.login import Connection
from launch.cluster.shell import command
from launch.providers import ssh
from mimir.errors import INTERRUPTED, BadInput, ServiceError

INSTALLED = ".config/mimir/installed"
"""Below the home of the login node: a link to the environment that `mimir cluster setup` made."""
STORE = ".config/mimir/store"
"""Beside it: the URL of the store that commands from elsewhere use, if setup was told one."""
READY = re.compile(rb"mimir: ready (\d+)\r?\n")
ABSENT = re.compile(rb"mimir: absent\r?\n")
LINE = 1000
"""Characters of a line of words: a terminal takes lines of up to 4,095."""
PATIENCE = 3
"""Ctrl-C so often, without an answer in between, leaves a connection that is dead."""
_START = f"""\
mimir="$HOME/{INSTALLED}/bin/mimir"
[ -x "$mimir" ] && exec "$mimir" {RECEIVES}
echo "mimir: absent"
"""


def coded(words: Sequence[str]) -> bytes:
    """Words as lines that pass a terminal, with a line "." at their end."""
    text = base64.b64encode(json.dumps(list(words)).encode()).decode()
    lines = [text[at : at + LINE] for at in range(0, len(text), LINE)]
    return "".join(f"{line}\n" for line in (*lines, ".")).encode()


def receive() -> list[str]:
    """The words that the other side sends, once it is told that this process is ready for them.

    Where there is no terminal, standard input is closed afterwards: no command reads it.
    """
    echo = _without_echo() if os.isatty(0) else None
    os.write(1, f"mimir: ready {os.getpid()}\n".encode())
    text, line = b"", b""
    while line != b".\n":
        text += line
        line = b""
        while not line.endswith(b"\n"):
            read = os.read(0, 1)  # no more: the rest is the command's
            if not read:
                sys.exit(INTERRUPTED)  # the other side went away: there is nobody to tell
            line += read
    if echo is not None:
        echo()
    else:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    return [str(word) for word in json.loads(base64.b64decode(text.replace(b"\n", b"")))]


def _without_echo() -> Callable[[], None]:
    """Let the terminal not show what it is sent; returns what undoes it."""
    import termios

    before = termios.tcgetattr(0)
    quiet = [*before]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(0, termios.TCSANOW, quiet)
    return lambda: termios.tcsetattr(0, termios.TCSANOW, before)


def run(connection: Connection, words: Sequence[str], *, terminal: bool) -> int:
    """Run `mimir WORDS` there; its exit code. terminal: whether a person sits before this one.

    Raises:
        BadInput: Mimir is not installed there.
        ServiceError: the connection was lost, or nothing there answers as Mimir does.
    """
    return _Command(connection, words, terminal).run()


class _Command:
    def __init__(self, connection: Connection, words: Sequence[str], terminal: bool) -> None:
        self._connection, self._words, self._terminal = connection, words, terminal
        self._where = connection.login
        self._pid = 0
        self._absent = False
        self._before = b""
        self._unanswered = 0
        self._broken: Exception | None = None
        self._left = False

    def run(self) -> int:
        paramiko = ssh.library()
        try:
            self._channel = self._connection.client.get_transport().open_session()
            if self._terminal:
                size = os.get_terminal_size(sys.stdout.fileno())
                term = os.environ.get("TERM", "dumb")
                self._channel.get_pty(term, size.columns, size.lines)
            self._channel.exec_command(command(_START))
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise ServiceError(f"{self._where} runs no command: {error}") from None
        copying = [
            threading.Thread(target=self._copy, args=(read, to), daemon=True)
            for read, to in ((self._channel.recv, 1), (self._channel.recv_stderr, 2))
        ]
        with _raw(self._terminal, self._typed, self._resized):
            for each in copying:
                each.start()
            code = self._wait(copying)
        return self._told(code)

    def _wait(self, copying: Sequence[threading.Thread]) -> int:
        """Until all output is copied; the exit code, -1 for none.

        Ctrl-C is counted, because it may come again while the first is on its way.
        """
        pressed, done = [0], 0

        def press(*_: object) -> None:
            pressed[0] += 1

        before = signal.signal(signal.SIGINT, press)
        try:
            while any(each.is_alive() for each in copying) and not self._left:
                time.sleep(0.05)
                if pressed[0] == done:
                    continue
                done += 1
                if done > 1 or not self._pid or not self._interrupt():
                    self._leave()
        finally:
            signal.signal(signal.SIGINT, before)
        return -1 if self._left else int(self._channel.recv_exit_status())

    def _leave(self) -> None:
        self._left = True
        self._channel.close()

    def _told(self, code: int) -> int:
        """What has become of the command, for the user; the exit code."""
        if isinstance(self._broken, BrokenPipeError):
            raise self._broken  # whoever reads our output went away
        if self._left and not self._pid:
            raise KeyboardInterrupt
        if self._left:
            print(f"mimir: left; {self._goes_on()}", file=sys.stderr)
            return 130
        if self._broken is not None:
            error = self._broken
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            if not self._pid:
                raise ServiceError(f"the command did not begin at {self._where}: {why}")
            raise ServiceError(f"its output cannot be written here ({why}); {self._goes_on()}")
        if self._absent:
            raise BadInput(
                f"Mimir is not installed at {self._where}: `mimir cluster setup {self._where}`"
            )
        if not self._pid:
            raise ServiceError(
                f"{self._where} ended with {code} before Mimir answered there: does a profile of "
                f"the account there start another program? (`mimir cluster setup {self._where}` "
                "installs anew)"
            )
        if code < 0 and not self._connection.is_alive:
            raise ServiceError(f"the connection to {self._where} was lost; {self._goes_on()}")
        if code < 0:
            raise ServiceError(f"the command was ended by a signal at {self._where}")
        return code

    def _goes_on(self) -> str:
        return (
            f"the command may go on at {self._where} as process {self._pid}: `kill {self._pid}` "
            "there ends it, and what it has submitted goes on by itself"
        )

    def _interrupt(self) -> bool:
        """Send the command SIGINT, as a terminal would; whether that was asked for."""
        paramiko = ssh.library()
        try:
            second = self._connection.client.get_transport().open_session(timeout=10)
            second.exec_command(f"kill -INT {self._pid}")
        except (paramiko.SSHException, OSError, EOFError):
            return False
        print(f"mimir: interrupts the command at {self._where}; Ctrl-C again leaves it",
              file=sys.stderr)  # fmt: skip
        return True

    def _copy(self, read: Callable[[int], bytes], to: int) -> None:
        """Copy one stream until its end; of standard output what comes before Mimir to the other.

        A reader that went away ends the command there as here: by a closed channel.
        """
        write = _writer(to, self._terminal)
        apart = write if to == 2 else _writer(2, self._terminal)
        try:
            while data := read(32768):
                self._unanswered = 0
                if to == 1 and not self._pid:
                    data = self._greeted(data, apart)
                write(data)
            if to == 1 and not self._pid:
                apart(self._before)
        except (ssh.library().SSHException, OSError, EOFError) as error:
            self._broken = error
            self._channel.close()

    def _greeted(self, data: bytes, apart: Callable[[bytes], None]) -> bytes:
        """Look for the sign that Mimir is ready, and send it the words; what comes behind it."""
        self._before += data
        if ABSENT.search(self._before):
            self._absent, self._before = True, b""
        if not (found := READY.search(self._before)):
            return b""
        apart(self._before[: found.start()])
        self._channel.sendall(coded(self._words))
        if not self._terminal:
            self._channel.shutdown_write()
        self._pid = int(found[1])
        return self._before[found.end() :]

    def _typed(self, data: bytes) -> None:
        if b"\x03" in data:
            self._unanswered += 1
        if self._unanswered >= PATIENCE or (b"\x03" in data and not self._pid):
            self._leave()
        elif self._pid:
            self._channel.sendall(data)

    def _resized(self) -> None:
        with suppress(ssh.library().SSHException, OSError, EOFError):  # the channel is closed
            size = os.get_terminal_size(sys.stdout.fileno())
            self._channel.resize_pty(size.columns, size.lines)


def _writer(to: int, terminal: bool) -> Callable[[bytes], None]:
    """Writes bytes to standard output (1) or error (2) as they come.

    On a terminal that the command there does not draw on itself, what would act on it is made
    visible, as of all that is printed here.
    """
    stream: Any = sys.stdout if to == 1 else sys.stderr
    if not terminal and stream.isatty():
        import codecs

        decoder = codecs.getincrementaldecoder("utf-8")("replace")

        def show(data: bytes) -> None:
            stream.write(decoder.decode(data))
            stream.flush()

        return show

    def write(data: bytes) -> None:
        while data:
            data = data[os.write(to, data) :]

    return write


@contextmanager
def _raw(
    terminal: bool, typed: Callable[[bytes], None], resized: Callable[[], None]
) -> Iterator[None]:
    """Hand on each key as it is pressed, Ctrl-C too; nothing where there is no terminal."""
    if not terminal:
        yield
        return
    import select
    import termios
    import tty

    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            if select.select([0], [], [], 0.1)[0]:
                try:
                    data = os.read(0, 1024)
                    if not data:
                        return
                    typed(data)
                except (ssh.library().SSHException, OSError, EOFError):  # the channel is closed
                    return

    before = termios.tcgetattr(0)
    handler = signal.signal(signal.SIGWINCH, lambda *_: resized())
    reader = threading.Thread(target=read, daemon=True)
    try:
        tty.setraw(0)
        reader.start()
        yield
    finally:
        over.set()
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, handler)


def has_terminal() -> bool:
    """Whether a person sits before this process, on a system whose terminals can be handed on."""
    try:
        import termios  # noqa: F401 - not on Windows
    except ImportError:
        return False
    return sys.stdin.isatty() and sys.stdout.isatty()
