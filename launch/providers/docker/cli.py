"""The engine's command line: docker, or podman where that is what there is.

Policy-free: runs a command, and turns what the engine says into the errors of the launcher.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

from launch.contract.errors import NoCapacity, ProviderError, UnknownOutcome
from mimir.errors import BadInput

ENGINE_TIMEOUT = 60.0
"""Seconds for a command that only talks to the engine."""
PULL = 3600.0
"""Seconds for fetching an image."""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Engine:
    """Runs the engine's commands.

    Args:
        run: as subprocess.run.
        which: as shutil.which.
    """

    def __init__(
        self, run: Run = subprocess.run, which: Callable[[str], str | None] = shutil.which
    ) -> None:
        self._run, self._which = run, which

    def ask(
        self, *words: str, timeout: float = ENGINE_TIMEOUT, environ: Mapping[str, str] | None = None
    ) -> str:
        """Standard output of `docker WORDS`; `environ` is added to the caller's variables.

        Raises:
            BadInput: there is no engine, or it does not answer to this user.
            UnknownOutcome: it did not answer in time.
            Refused: it said no.
        """
        program = self._which("docker") or self._which("podman")
        if program is None:
            raise BadInput(
                "provider docker needs Docker or Podman, and neither is installed here; install "
                "one, or train by --provider local"
            )
        try:
            done = self._run(
                [program, *words], env={**os.environ, **(environ or {})}, timeout=timeout,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise UnknownOutcome(
                f"the engine did not answer `{words[0]}` within {timeout:.0f} s: is it overloaded?"
            ) from None
        except OSError as error:
            raise BadInput(f"cannot run {program}: {error.strerror}") from error
        if done.returncode:
            raise _explained(done.stderr.strip())
        return done.stdout

    def inspect(self, kind: str, name: str) -> dict[str, Any] | None:
        """What the engine knows of a container or an image; None if there is none."""
        try:
            found: list[dict[str, Any]] = json.loads(self.ask(kind, "inspect", name))
        except Refused as error:
            if error.missing:
                return None
            raise
        return found[0] if found else None


class Refused(ProviderError):
    """The engine said no. missing: because there is no such container or image."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.missing = "no such" in message.lower() or "not found" in message.lower()


def _explained(said: str) -> Exception:
    last = said.splitlines()[-1] if said else "it gave no reason"
    lower = said.lower()
    if "cannot connect to the docker daemon" in lower or "connection refused" in lower:
        return BadInput(
            "the container engine does not run, or $DOCKER_HOST names another: start it, or "
            "train by --provider local"
        )
    if "permission denied" in lower and "socket" in lower:
        return BadInput(
            "you may not use this machine's container engine: join its group (docker), or train "
            "by --provider local"
        )
    if "could not select device driver" in lower or "nvidia-container" in lower:
        return NoCapacity(
            "the engine cannot give a container this machine's GPU: install NVIDIA's container "
            "toolkit, or train by --provider local"
        )
    return Refused(f"the container engine refused: {last.removeprefix('Error: ')}")
