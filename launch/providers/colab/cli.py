"""Google's own CLI for Colab as a subprocess, in a home that is ours alone.

It writes all that it does into its home: in colab.log the bearer token of every request, in
its history the code that was sent. So each use has a home that others cannot read, in which
those two lead nowhere, with the user's login linked in. Standard input is closed: without a
login it would wait for a code for ever.
"""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from launch.contract.errors import UnknownOutcome
from launch.providers.colab import errors
from mimir.errors import BadInput

COMMAND_TIMEOUT = 90.0
"""Seconds for a command: one takes 1 to 4 s to start, and tries a dead machine for a while."""
ASSIGN = 420.0
"""Seconds for `new`, which tries four times by itself, with pauses of 10, 20 and 40 s."""
KERNEL_TIMEOUT = "60"
"""Seconds that a machine's kernel may take to come up, and to each answer before the cell runs.
The CLI's own 10 are too few for a busy machine; it then gives up, or spins until it does."""
LEFT = 60.0
"""Seconds that `new` has to end by itself after Ctrl-C."""
PASSED_ON = (
    "PATH", "TMPDIR", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy",
    "no_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "GOOGLE_APPLICATION_CREDENTIALS", "COLAB_CLI_REQUEST_TIMEOUT", "COLAB_CLI_ASSIGN_RETRIES",
    "COLAB_CLI_RETRY_BACKOFF", "REQUEST_TIMEOUT",
)  # fmt: skip
"""Variables that the CLI gets of ours. No key to a store is among them."""
_OWN = Path(".config") / "colab-cli"


@dataclass(frozen=True)
class Said:
    """How a command ended, and all that it printed."""

    code: int
    text: str


class Cli:
    """Runs the CLI's commands.

    Args:
        environ: where COLAB_CLI_PATH, PATH, HOME and the proxies are taken from.
        which: as shutil.which.
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        which: Callable[..., str | None] = shutil.which,
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._which = which

    def program(self) -> str:
        """Where it is: $COLAB_CLI_PATH, else on PATH.

        Raises:
            BadInput: it is not there.
        """
        told = self._environ.get("COLAB_CLI_PATH", "")
        found = self._which(os.path.expanduser(told) or "colab", path=self._environ.get("PATH"))
        if found is None:
            where = f"COLAB_CLI_PATH names {told}, which" if told else "Google's CLI for Colab"
            raise BadInput(f"{where} is not there: {errors.INSTALL}")
        return found

    def check(self, home: Path) -> None:
        """Raises BadInput if it is missing, or of a version that is not known to work."""
        said = self.ask(home, "version")
        error = errors.unusable(said.code, said.text, self.program())
        if error is not None:
            raise error

    def ask(self, home: Path, *words: str, timeout: float = COMMAND_TIMEOUT) -> Said:
        """Run `colab WORDS` to its end. `new` is let end after a Ctrl-C too: the session that it
        makes would else be nobody's.

        Raises:
            BadInput: it cannot be run.
            UnknownOutcome: it did not end in time.
        """
        child = self._popen(home, words, subprocess.PIPE)
        try:
            text = child.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired:
            _kill(child)
            raise UnknownOutcome(
                f"Colab's CLI did not end `{words[0]}` within {timeout:.0f} s"
            ) from None
        except BaseException:
            if words[0] == "new":
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.communicate(timeout=LEFT)
            _kill(child)
            raise
        return Said(child.returncode, text.decode(errors="replace"))

    def begin(self, home: Path, *words: str, output: Path) -> "subprocess.Popen[bytes]":
        """Start `colab WORDS`, which prints into this file, readable by its owner only."""
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            return self._popen(home, words, handle)
        finally:
            os.close(handle)

    def furnish(self, home: Path, session: str, endpoint: str = "") -> None:
        """Make a home in which this session is known.

        The CLI asks the servers for the rest of what it must know of a session; so one can be
        looked at and ended from anywhere by its endpoint.
        """
        own = home / _OWN
        try:
            own.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.chmod(home, 0o700)
            (own / "history").mkdir(exist_ok=True, mode=0o700)
            for path in (own / "colab.log", own / "history" / f"{session}.jsonl"):
                if not path.is_symlink():
                    path.symlink_to(os.devnull)
            login = self._home() / _OWN / "token.json"
            # Linked even if it is not there: what the CLI renews is written for the user too.
            if not (own / "token.json").is_symlink():
                (own / "token.json").symlink_to(login)
            (own / "settings.json").write_text('{"enable_update_check": false}')
            if endpoint:
                known = {"name": session, "token": "", "url": "", "endpoint": endpoint}
                path = own / "sessions.json"
                path.touch(mode=0o600)
                path.write_text(json.dumps({session: known}))
        except OSError as error:
            raise BadInput(
                f"cannot write to {home}: {error.strerror}; set XDG_STATE_HOME"
            ) from None

    def _popen(self, home: Path, words: tuple[str, ...], output: int) -> "subprocess.Popen[bytes]":
        command = [self.program(), "--auth", self._auth(), *self._client(), *words]
        try:
            return subprocess.Popen(
                command,
                env=self._variables(home),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                umask=0o077,
                start_new_session=True,
            )
        except OSError as error:
            raise BadInput(f"cannot run {command[0]}: {error.strerror}") from error

    def _variables(self, home: Path) -> dict[str, str]:
        passed = {name: self._environ[name] for name in PASSED_ON if name in self._environ}
        cloud = self._environ.get("CLOUDSDK_CONFIG") or str(self._home() / ".config" / "gcloud")
        return {"REQUEST_TIMEOUT": KERNEL_TIMEOUT} | passed | {
            "HOME": str(home), "LANG": "C.UTF-8", "NO_COLOR": "1", "TERM": "dumb",
            "COLUMNS": "400", "CLOUDSDK_CONFIG": cloud,
            # Else a traceback is drawn in a box, and may show what variables held.
            "TYPER_STANDARD_TRACEBACK": "1", "_TYPER_STANDARD_TRACEBACK": "1",
        }  # fmt: skip

    def _auth(self) -> str:
        """oauth2, the CLI's own login, unless there is none and Google's own is pointed at."""
        told = self._environ.get("MIMIR_COLAB_AUTH", "")
        if told not in ("", "oauth2", "adc"):
            raise BadInput(f"MIMIR_COLAB_AUTH is {told!r}, but must be oauth2 or adc")
        own = (self._home() / _OWN / "token.json").exists()
        pointed = bool(self._environ.get("GOOGLE_APPLICATION_CREDENTIALS"))
        return told or ("adc" if pointed and not own else "oauth2")

    def _client(self) -> list[str]:
        path = self._home() / ".colab-cli-oauth-config.json"
        return ["--client-oauth-config", str(path)] if path.exists() else []

    def _home(self) -> Path:
        return Path(self._environ.get("HOME") or Path.home())


def _kill(child: "subprocess.Popen[bytes]") -> None:
    child.kill()
    child.communicate()
