"""Slurm's own commands, with an environment in which nothing of the launcher's can be passed on.

sbatch would pass the launcher's whole environment to the job, secrets included, and options by
variables of its own (SBATCH_…, SLURM_…): inside another job's allocation these would tie ours to
that one's cores. So the commands get the variables that are named here, and no others.
"""

import os
import re
import subprocess
from collections.abc import Callable, Mapping

from launch.contract.errors import ProviderError
from launch.contract.redaction import Secrets
from launch.providers.slurm import states
from launch.providers.slurm.states import Job
from mimir.errors import BadInput

ANSWERS_WITHIN = 60.0
"""Seconds for one command; Slurm's own MessageTimeout is 10 s, and it tries again."""
OWN = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "SLURM_CONF")
"""What every command gets."""
NOT_HERE = (
    "there is no {} here: --provider slurm works on a login node of a cluster "
    "(docs/guides/cluster.md)"
)
Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Commands:
    """Args:
    environ: of which the named variables are passed on.
    run: as subprocess.run.
    secrets: what is removed from Slurm's words.
    """

    def __init__(
        self, environ: Mapping[str, str] = os.environ, run: Run = subprocess.run,
        secrets: Secrets | None = None,
    ) -> None:  # fmt: skip
        self._environ, self._run = environ, run
        self.secrets = secrets or Secrets()
        self._cluster = ""

    def ask(
        self, *words: str, text: str = "", env: Mapping[str, str] | None = None
    ) -> tuple[int, str, str]:
        """(exit code, output, errors) of one command. env: more variables.

        Raises:
            BadInput: there is no such command here.
            ProviderError: it does not answer in time.
        """
        own = {name: self._environ[name] for name in OWN if name in self._environ}
        try:
            done = self._run(
                list(words), input=text, capture_output=True, text=True, errors="replace",
                timeout=ANSWERS_WITHIN, check=False, env={**own, **(env or {})},
            )  # fmt: skip
        except FileNotFoundError:
            raise BadInput(NOT_HERE.format(words[0])) from None
        except OSError as error:
            raise BadInput(f"{words[0]} cannot be started: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            late = f"{words[0]} did not answer within {ANSWERS_WITHIN:.0f} s"
            raise ProviderError(late) from None
        return done.returncode, done.stdout, done.stderr

    def jobs(self, name: str) -> list[Job]:
        """The user's own jobs of this name, oldest first, those that have ended lately too.

        Others may give their jobs any name, and nobody but they can end these. Where another user
        has ordered an attempt of a run in a store that both use, their job is seen by whom it
        belongs to alone (own_job.must_be_here); one that nobody finds is fenced out by the
        attempt that replaces its own.

        ProviderError if Slurm does not tell; an empty list is its word that there is none.
        """
        return [job for job in self._queue(f"--name={name}") if job.name == name]

    def _queue(self, *which: str) -> list[Job]:
        code, out, err = self.ask(
            "squeue", "--noheader", "--states=all", f"--user={os.getuid()}", "--sort=i",
            f"--format={states.FORMAT}", *which,
        )  # fmt: skip
        if code != 0:
            raise ProviderError(f"squeue failed: {self.words(err)}")
        found = []
        for line in filter(str.strip, out.splitlines()):
            job = states.parse(self.secrets.clean(line))
            if job is None:
                raise ProviderError(f"squeue printed what is no job: {self.words(line)}")
            found.append(job)
        return found

    def cluster(self) -> str:
        """The cluster's name. ProviderError if Slurm does not tell."""
        if not self._cluster:
            code, out, err = self.ask("scontrol", "show", "config")
            found = re.search(r"^ClusterName\s*=\s*(\S+)", out, re.M)
            if code != 0 or not found:
                raise ProviderError(f"Slurm does not tell its name: {self.words(err or out)}")
            self._cluster = found[1]
        return self._cluster

    def words(self, text: str) -> str:
        """What a command printed, for people: one line, without secrets and its own name."""
        lines = [re.sub(r"^\w+: (?:error: |fatal: )?", "", line.strip())
                 for line in text.strip().splitlines()]  # fmt: skip
        return self.secrets.clean("; ".join(dict.fromkeys(filter(None, lines))))[:400] or "no word"


def user() -> str:
    """The name of who asks; its number where it has none."""
    import pwd  # here, because Windows has none, and all providers are imported by `doctor`

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
