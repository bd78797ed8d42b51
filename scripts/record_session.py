"""Records a real session in a terminal as a picture: docs/images/session.svg in the README.

    python scripts/record_session.py

It trains the smoke preset here (minutes on a CPU), kills its machine in the middle and resumes it.
Each command runs in a pseudo-terminal and prints what it prints there, with its colours; waiting
between commands is left out, and the run's folder is shown as `~`.
"""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from mimir.output.palette import DARK

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "session.svg"
COLUMNS, ROWS = 96, 40
NAME = "first"
YELLOW = (227, 179, 65)
"""Which the report's palette lacks."""
FONTS = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
FORMAT = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>A session with Mimir in a terminal</title>
<style>
.{unique_id}-matrix {{ font: {char_height}px/{line_height}px FONTS; }}
.{unique_id}-title {{ font: 18px FONTS; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
""".replace("FONTS", FONTS)
"""Rich's layout with fonts that are there: its own asks a server for one."""


class Recorder:
    """Commands in a terminal of COLUMNS, and what they printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shown: list[Text] = []
        here = Path(sys.executable).parent
        self._env = dict(
            os.environ,
            MIMIR_STORE=(folder / "store").as_uri(),
            PATH=f"{here}{os.pathsep}{os.environ['PATH']}",
            TERM="xterm-256color",
        )
        for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS"):
            self._env.pop(name, None)

    def typed(self, words: str) -> None:
        """A line as a user types it."""
        between = "\n" if self.shown else ""
        self.shown.append(Text.assemble(between, ("$ ", "bold"), (words, "bold")))

    def run(self, words: str) -> None:
        """Run a command, and keep what it prints.

        Raises:
            SystemExit: it failed.
        """
        self.typed(words)
        code, printed = in_terminal(words.split(), self._env, self.folder)
        self.shown += seen(printed.replace(str(self.folder), "~"))
        if code:
            sys.exit(f"`{words}` ended with exit code {code}:\n{printed}")

    def told(self, *words: str) -> str:
        """What a command answers a program: not recorded."""
        return subprocess.run(
            words, cwd=self.folder, env=self._env, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def picture(self) -> str:
        """The session as SVG, which asks for nothing from outside."""
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            console = Console(
                record=True, width=COLUMNS, file=nowhere, force_terminal=True, legacy_windows=False
            )
            for text in self.shown:
                console.print(text, no_wrap=True, overflow="ignore", crop=False)
            return console.export_svg(
                title="mimir", theme=theme(), code_format=FORMAT, unique_id="mimir"
            )


def in_terminal(words: Sequence[str], env: Mapping[str, str], folder: Path) -> tuple[int, str]:
    """Run a command in a terminal of its own; its exit code, and all that it wrote there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=theirs, env=dict(env), cwd=folder
    )
    os.close(theirs)
    printed = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # nobody writes any more
            break
        if not data:
            break
        printed += data
    os.close(ours)
    return process.wait(), printed.decode()


def seen(printed: str) -> list[Text]:
    """The rows that a terminal shows in the end: of a line that was redrawn, the last state."""
    shown = list(AnsiDecoder().decode(printed.replace("\r\n", "\n")))
    while shown and not shown[-1].plain.strip():
        shown.pop()
    return [row for line in shown for row in line.divide(range(COLUMNS, len(line), COLUMNS))]


def theme() -> TerminalTheme:
    """The report's dark palette as a terminal's colours."""

    def rgb(name: str) -> tuple[int, int, int]:
        text = DARK[name].removeprefix("#")
        return (int(text[:2], 16), int(text[2:4], 16), int(text[4:], 16))

    # Black, red, green, yellow, blue, magenta, cyan, white.
    found = [rgb(name) for name in ("page", "c", "d", "a", "b", "again", "b", "text")]
    found[3] = YELLOW
    return TerminalTheme(rgb("page"), rgb("text"), found, found)


def record(recorder: Recorder) -> None:
    """A run that is submitted, killed, resumed and finished; peptides of its model."""

    def status() -> dict[str, object]:
        found: dict[str, object] = json.loads(recorder.told("mimir", "status", NAME, "--json"))
        return found

    recorder.run(f"python -m launch submit --preset smoke --name {NAME} --yes")
    while int(str((found := status())["committed_step"])) < 300:
        time.sleep(0.2)
    machine = found["attempts"][-1]["machine"]  # type: ignore[index]
    group = os.getpgid(machine["pid"])
    recorder.typed(f"kill -9 -{group}                       # as if the machine had died")
    os.killpg(group, signal.SIGKILL)
    recorder.run(f"python -m launch status {NAME}")
    recorder.run(f"python -m launch resume {NAME}")
    while status()["state"] != "done":
        time.sleep(0.5)
    recorder.run(f"python -m launch status {NAME}")
    recorder.run(f"python -m mimir sample --run {NAME} -n 4 --target P31947")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        ours = Recorder(Path(made).resolve())
        record(ours)
        PICTURE.write_text(ours.picture(), encoding="utf-8")
    print(PICTURE)
