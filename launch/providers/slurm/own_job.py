"""The job that this process runs in, as Slurm shows it to the job itself."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from launch.contract.cloud import State
from launch.contract.errors import ProviderError
from launch.providers.slurm import states
from launch.providers.slurm.commands import Commands, user
from mimir.errors import BadInput
from mimir.runs.machine import Detail, Machine


class Fate(StrEnum):
    """What becomes of a job that was signalled.

    goes: it is told early, and may ask to be started again, which Slurm may refuse. restarted:
    Slurm ends it now, and starts it again by itself. ended: Slurm ends it, and does not start it
    again: a person has cancelled it. unknown: Slurm does not tell.
    """

    GOES = "goes"
    RESTARTED = "restarted"
    ENDED = "ended"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class OwnJob:
    """id, name and node of the job; restarts: how often Slurm had started it before this time."""

    id: str
    name: str
    restarts: int
    node: str
    commands: Commands

    @classmethod
    def here(cls, environ: Mapping[str, str] = os.environ) -> "OwnJob":
        """BadInput if this is no job."""
        number = environ.get("SLURM_JOB_ID", "")
        if not number.isdigit():
            raise BadInput("this is no job of Slurm's: it is begun by `submit --provider slurm`")
        restarts = environ.get("SLURM_RESTART_COUNT", "")
        return cls(
            number, environ.get("SLURM_JOB_NAME", ""),
            int(restarts) if restarts.isdigit() else 0,
            environ.get("SLURMD_NODENAME", ""), Commands(environ),
        )  # fmt: skip

    def machine(self, now: float) -> Machine:
        """What to write down of it, as the provider does. ProviderError if Slurm does not tell."""
        return machine(self.commands, self.id, self.name, now)

    def fate(self) -> Fate:
        """What Slurm is about to do with it."""
        try:
            code, out, _ = self.commands.ask("scontrol", "show", "job", "-o", self.id)
        except (ProviderError, BadInput):
            return Fate.UNKNOWN
        said = dict(re.findall(r"(\w+)=(\S*)", out))
        if code != 0 or "JobState" not in said:
            return Fate.UNKNOWN
        word = said["JobState"]
        state = states.STATES.get(word, State.BROKEN)
        if state is State.PENDING:
            return Fate.RESTARTED
        if state is State.BROKEN:
            return Fate.UNKNOWN
        if state is State.RUNNING and word != "COMPLETING":
            return Fate.GOES  # also while its signal is on its way (SIGNALING)
        # Slurm counts a restart when it begins to end the job for it.
        count = said.get("Restarts", "")
        again = count.isdigit() and int(count) > self.restarts
        return Fate.RESTARTED if again else Fate.ENDED

    def requeue(self) -> str:
        """Ask to be started again; "" if Slurm does so, else its reason. The caller then waits to
        be ended: Slurm does not start a job again that ends by itself."""
        try:
            code, _, err = self.commands.ask("scontrol", "requeue", self.id)
        except (ProviderError, BadInput) as error:
            return str(error)
        return "" if code == 0 else self.commands.words(err)

    def note(self, sentence: str) -> None:
        """Leave a sentence where `squeue` shows it, for who cannot see this node's store or log."""
        text = re.sub(r"[|\n]", " ", sentence)[:300]
        try:
            self.commands.ask("scontrol", "update", f"JobId={self.id}", f"Comment={text}")
        except (ProviderError, BadInput):
            return  # it stands in the job's log

    def others(self) -> list[str]:
        """Numbers of the jobs of the same name that wait behind this one. ProviderError."""
        found = self.commands.jobs(self.name)
        return [job.id for job in found if job.id != self.id and job.state is State.PENDING]

    def cancel(self, number: str) -> None:
        self.commands.ask("scancel", number)

    def last_end(self) -> str:
        """How the newest ended job of the same name ended, in Slurm's word; "" if it is forgotten.

        ProviderError if Slurm does not tell.
        """
        ended = [job for job in self.commands.jobs(self.name)
                 if job.id != self.id and job.state is State.GONE]  # fmt: skip
        return ended[-1].word if ended else ""


def machine(commands: Commands, number: str, name: str, now: float) -> Machine:
    """A job as the machine of an attempt. ProviderError if the cluster does not tell its name."""
    details: dict[str, Detail] = {"cluster": commands.cluster(), "user": user(), "queues": True}
    return Machine("slurm", now, id=number, name=name, details=details)


def must_be_here(commands: Commands, job: Machine) -> None:
    """ProviderError for the job of another cluster or user, of which `squeue` here shows nothing,
    as of one that has ended; and if the cluster does not tell its name."""
    cluster, own = job.detail("cluster"), job.detail("user")
    here, me = commands.cluster(), user()
    if cluster != here or own not in (me, str(os.getuid())):
        raise ProviderError(
            f"job {job.id} is user {own}'s on cluster {cluster}, and this is user {me} on cluster "
            f"{here}: look at it and end it from there"
        )


def end_of(log: Path, most: int = 1_000_000) -> str:
    """The last `most` bytes of a job's log as text; no more is read, however long it is."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - most))
        return file.read(most).decode(errors="replace")
