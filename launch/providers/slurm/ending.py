"""Ends a job, or one run's part of a job that others share, and sees that it is gone.

The time between SIGTERM and SIGKILL of a plain scancel is the cluster's KillWait (30 s), too short
for a big last checkpoint: SIGTERM is sent by itself first. Requeue=0 keeps a job that is being
ended from coming back.
"""

from collections.abc import Callable

from launch.contract.cloud import State
from launch.contract.errors import NotGone, ProviderError
from launch.contract.provider import Machine
from launch.providers.slurm.commands import Commands
from launch.providers.slurm.own_job import must_be_here
from launch.providers.slurm.shared_job import Part
from launch.providers.slurm.states import Job

GRACE = 120.0
"""Seconds that an ended worker has for its last checkpoint before it is cancelled."""
CANCELLED_WITHIN = 90.0
"""Seconds from scancel until a job must be gone: KillWait is 30 s, and its epilog takes a while."""
TERM_AGAIN = 5.0
"""Seconds between signals: one that comes before the job's program listens is not heard."""
LOOK_EVERY = 2.0
"""Seconds between looks for the end of one run's part."""


class Ending:
    """grace: as GRACE, in seconds."""

    def __init__(
        self, commands: Commands, clock: Callable[[], float], sleep: Callable[[float], None],
        grace: float,
    ) -> None:  # fmt: skip
        self._commands, self._clock, self._sleep, self._grace = commands, clock, sleep, grace

    def end(self, machine: Machine, part: Part | None) -> None:
        """End all jobs of the machine's name, as a chain has several, unless other runs than
        `part` need them: then that part alone.

        Raises:
            NotGone: it is still there, or nobody tells.
        """
        try:
            must_be_here(self._commands, machine)
        except ProviderError as error:
            raise NotGone(f"{error}; job {machine.id} is not ended") from None
        if part is not None and self._end_part(machine, part):
            return
        until = self._clock() + self._grace
        while (left := self._left(machine)) != [] and self._clock() < until:
            for job in left or []:
                self._try("scontrol", "update", f"JobId={job.id}", "Requeue=0")
                if job.state is State.PENDING:
                    self._try("scancel", job.id)
            if left and all(job.state is not State.PENDING for job in left):
                # Pending ones first, because the next of a chain starts where one ends.
                for job in left:
                    self._try("scancel", "--batch", "--signal=TERM", job.id)
            self._wait(TERM_AGAIN, machine)
        until = self._clock() + CANCELLED_WITHIN
        while (left := self._left(machine)) != []:
            for job in left or []:
                self._try("scancel", job.id)
            if self._clock() >= until:
                what = left[0].said if left else f"job {machine.id}, of which Slurm tells nothing,"
                raise NotGone(
                    f"{what} is still there after scancel: look at it by `squeue --name="
                    f"{machine.name}`, end it by `scancel --name={machine.name}`"
                )
            self._wait(TERM_AGAIN, machine)

    def _end_part(self, machine: Machine, part: Part) -> bool:
        """End one run's part of a job; False if no other run needs the job: it is to be ended.

        Its program sees the request, lets the one worker end, and leaves a note after that. A job
        that waits finds the request when it starts, and begins nothing of this run.
        """
        until = self._clock() + self._grace + CANCELLED_WITHIN
        asked = False
        while True:
            left = self._left(machine)
            waits = bool(left) and all(job.state is State.PENDING for job in left or ())
            others = part.others(waits=waits)
            if left == [] or not others:
                return left == []
            if not asked:
                part.ask_to_end()
                asked = True
                continue  # it may have started since it was looked at
            if waits or part.has_ended():
                return True
            if self._clock() >= until:
                raise NotGone(
                    f"{part.said} has not ended in job {machine.id}, which {others[0]} shares: it "
                    f"may write its last checkpoint; `scancel {machine.id}` ends the job for all"
                )
            self._sleep(LOOK_EVERY)

    def _left(self, machine: Machine) -> list[Job] | None:
        """The jobs of the name that have not ended; None if Slurm does not tell."""
        try:
            return [j for j in self._commands.jobs(machine.name) if j.state is not State.GONE]
        except ProviderError:
            return None

    def _try(self, *words: str) -> None:
        """What was not done is seen afterwards, and asked for again."""
        try:
            self._commands.ask(*words)
        except ProviderError:
            return

    def _wait(self, seconds: float, machine: Machine) -> None:
        until = self._clock() + seconds
        while self._clock() < until and self._left(machine) != []:
            self._sleep(0.5)
