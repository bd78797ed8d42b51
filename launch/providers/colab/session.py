"""One machine on Colab, by its endpoint: look, send, fetch, end.

Every command gets a home of its own, because the CLI writes back what it read of a session
when it ends, minutes or hours later. Looks trust only what was said: a session is there if the
list has it, and gone if the CLI says that it struck it off because the list lacks it. All
else, as a login that has run out, tells nothing: for then the CLI prints an empty list.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from launch.contract.errors import NotGone
from launch.providers.colab import errors
from launch.providers.colab.cli import Cli, Said
from launch.providers.colab.errors import failure
from mimir.errors import MimirError

AGAIN = 3.0
"""Seconds to the second look that must confirm that a session is gone."""
SESSION_GONE_WITHIN = 90.0
"""Seconds in which a session that was ended must have gone from the list."""


@dataclass(frozen=True)
class Session:
    """A session. folder: where homes are made."""

    cli: Cli
    name: str
    endpoint: str
    folder: Path
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time

    def there(self) -> bool | None:
        """Whether the account has it; None if that cannot be told now."""
        found = self._look()
        if found is False:
            self.sleep(AGAIN)
            return self._look()
        return found

    def upload(self, local: Path, remote: str) -> None:
        """Send a file. remote: its name in /content. Works while a cell runs.

        Raises:
            MimirError: it did not arrive.
        """
        said = self._ask("upload", str(local), f"content/{remote}")
        if said.code:
            raise failure(said.text, "send a file")

    def download(self, remote: str) -> str | None:
        """The text of a file in /content; None if it cannot be read."""
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="got-") as folder:
            path = Path(folder) / "file"
            try:
                said = self._ask("download", f"content/{remote}", str(path))
            except MimirError:
                return None
            return path.read_text(errors="replace") if not said.code and path.exists() else None

    def end(self) -> None:
        """End it; returns only when the account does not have it any more.

        Raises:
            NotGone: that could not be shown.
        """
        until, why = self.clock() + SESSION_GONE_WITHIN, "no answer yet"
        while True:
            there = None
            try:
                said = self._ask("stop")
                why = errors.last_line(said.text)
                there = self._look()
            except MimirError as error:
                why = str(error)
            if there is False:
                return
            if self.clock() >= until:
                raise NotGone(
                    f"session {self.name} ({self.endpoint}) on Colab cannot be shown to be gone "
                    f"({why}): look at `colab sessions`, or end it at "
                    "https://colab.research.google.com under Runtime, Manage sessions"
                )
            self.sleep(AGAIN)

    @contextmanager
    def _home(self) -> Iterator[Path]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(
            dir=self.folder, prefix="home-", ignore_cleanup_errors=True
        ) as folder:
            home = Path(folder)
            self.cli.furnish(home, self.name, self.endpoint)
            yield home

    def _look(self) -> bool | None:
        try:
            with self._home() as home:
                said = self.cli.ask(home, "sessions")
        except MimirError:
            return None
        if said.code:
            return None
        if any(found.endpoint == self.endpoint for found in errors.sessions(said.text)):
            return True
        return False if errors.STRUCK in said.text else None

    def _ask(self, command: str, *words: str) -> Said:
        with self._home() as home:
            return self.cli.ask(home, command, "--session", self.name, *words)
