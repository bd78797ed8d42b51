"""The program that a batch job becomes: `python -m launch.cluster.job`.

It opens the store and looks after the runs that the job was ordered for, one or several side by
side (part): each gets the attempt of this start (next_attempt) and a worker of its own. It hands on
the signals of the cluster (signals), and where a run shall go on when all workers have ended, it
asks Slurm to start the job again. Training has none of its rights. What was seen on Slurm 22.05 and
decided its order:

- a job that ends by itself within a preemption's grace is not started again: it must ask;
- `scontrol requeue` brings a job back that a person has cancelled: ask first what becomes of it;
- after `scontrol requeue` the job must stay until it is ended.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Sequence

from launch.cluster import container
from launch.cluster.container import Runtime
from launch.cluster.part import End, Ordered, Part
from launch.cluster.signals import Signals
from launch.contract.errors import ProviderError
from launch.providers.slurm import script
from launch.providers.slurm.own_job import Fate, OwnJob
from mimir import cli
from mimir.errors import DONE, INTERRUPTED, BadInput, Corrupt, MimirError, StoreError
from mimir.runs.status import read_head
from mimir.runs.store import Store, open_store

ENDED_WITHIN = 600.0
"""Seconds that a job waits to be ended after it asked to be started again."""


class Job:
    """One start of a job.

    Args:
        own: the job as Slurm shows it.
        url: of the store.
        runs: that the job was ordered for.
        image: in which they train, "" for none.
        out: takes lines for the job's log.
    """

    def __init__(
        self, own: OwnJob, url: str, runs: Sequence[Ordered], image: str = "",
        out: Callable[[str], None] = print, sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._own, self._url, self._runs = own, url, runs
        self._image, self._out, self._sleep = image, out, sleep
        self.signals = Signals(own, self._terminate, self._stopped, sleep)
        self._parts = [
            Part(
                own, url, each, self.signals, shared=len(runs) > 1, image=image, out=out,
                sleep=sleep, alone=self._all_ended,
            )
            for each in runs
        ]  # fmt: skip

    def work(self) -> int:
        """Run this start to its end; the first exit code of its runs that is not 0."""
        self._say(f"job {self._own.id} on {self._own.node}, start {self._own.restarts + 1}")
        try:
            store = self._open()
            runtime = container.find(self._image, self._own.node) if self._image else None
        except MimirError as error:
            self._say(str(error))
            self._own.note(str(error))
            return error.exit_code
        if len(self._parts) == 1:
            self._parts[0].work(store, runtime)
        else:
            self._side_by_side(store, runtime)
        code = next((part.code for part in self._parts if part.code), DONE)
        ends = {part.ended for part in self._parts}
        if End.MORE in ends:
            return self._go_on(code)
        if End.LEAVES in ends:
            self._leave(self.signals.judged())
        elif ends == {End.OVER}:
            self._end_chain()
        return code

    def _side_by_side(self, store: Store, runtime: Runtime | None) -> None:
        def work(part: Part) -> None:
            try:
                part.work(store, runtime)
            except Exception as error:  # noqa: BLE001 - told; the other runs go on
                part.ended, part.code = End.TURNED_AWAY, INTERRUPTED
                part.give_up(store, error)

        names = ", ".join(each.run for each in self._runs)
        self._say(f"{len(self._runs)} runs share this job: {names}")
        threads = [threading.Thread(target=work, args=(part,)) for part in self._parts]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        for part in self._parts:
            with contextlib.suppress(Exception):  # it was told
                part.note_end()

    def _all_ended(self) -> bool:
        return all(part.ended for part in self._parts)

    def _open(self) -> Store:
        """The store, of which the runs must be seen from this node. Of several one is enough: what
        is wrong with a run's HEAD is its own part's to say."""
        try:
            store = open_store(self._url)
            self._must_see_one(store)
        except (BadInput, StoreError, OSError) as error:
            raise BadInput(
                f"node {self._own.node} does not reach the store {self._url} ({error}): choose a "
                "folder that the nodes share, or an s3:// store that they reach"
            ) from None
        return store

    def _must_see_one(self, store: Store) -> None:
        for each in self._runs:
            try:
                read_head(store, each.run)
            except (BadInput, Corrupt):
                if each is self._runs[-1]:
                    raise
            else:
                return

    def _go_on(self, code: int) -> int:
        try:
            waiting = self._own.others()
        except (ProviderError, BadInput):
            waiting = []
        if waiting:
            self._say(f"job {waiting[0]} of the chain goes on")
            return code
        self.signals.ask()  # it may have been cancelled since the signal, or have had none
        self.signals.give_up()
        fate = self.signals.judged()
        if fate is not Fate.GOES:
            self._leave(fate)
            return code
        refused = self._own.requeue()
        if refused:
            told = (
                f"Slurm does not start the job again ({refused}): go on by `resume`; for a site "
                "that starts none again say --no-requeue --chain=N"
            )
            self._say(told)
            self._own.note(told)
            return code
        self._say("asked to be started again")
        self._sleep(ENDED_WITHIN)
        return code

    def _leave(self, fate: Fate) -> None:
        """What is left to do for a job that does not ask to be started again."""
        if fate is Fate.ENDED:
            several = len(self._parts) > 1
            runs = "its runs that are not over are" if several else "the run is"
            self._say(f"the job was cancelled: {runs} stopped")
            self._stopped()
            for part in self._parts:
                part.end_unclaimed()
            self._end_chain()
        elif fate is Fate.RESTARTED:
            self._say("its cluster starts the job again")
        else:
            self._say("Slurm does not tell whether the job was cancelled: it does not go on")

    def _end_chain(self) -> None:
        """Cancel the jobs that wait behind this one, which would find nothing to do."""
        try:
            for number in self._own.others():
                self._own.cancel(number)
                self._say(f"job {number} of the chain is cancelled")
        except (ProviderError, BadInput) as error:
            self._say(f"what waits behind this job cannot be read: {error}")

    def _terminate(self) -> None:
        for part in self._parts:
            part.terminate()

    def _stopped(self) -> None:
        for part in self._parts:
            part.stopped()

    def _say(self, sentence: str) -> None:
        self._out(f"{time.strftime('%H:%M:%S')} mimir: {sentence}")


def to_log(line: str) -> None:
    sys.stdout.write(f"{line}\n")  # by one call: several runs may write at the same time
    sys.stdout.flush()


def work(
    *, store: str, run: str, attempt: int, record: str = "", image: str = "", beside: str = ""
) -> int:
    """Look after a run in a batch job, or after several, as the job's script does.

    Args:
        store: where the run lives.
        run: name of the run.
        attempt: that the job was ordered for.
        record: SHA-256 of the run's run.json; empty: not known.
        image: a container image to train in; empty: the Python of this program.
        beside: the other runs that share the job, as RUN:ATTEMPT:RECORD,…; empty: none.

    Example:
        python -m launch.cluster.job --store file:///shared/runs --run demo --attempt 1
    """
    runs = [Ordered(run, attempt, record)]
    runs += [Ordered(name, number, sha256) for name, number, sha256 in script.parse(beside)]
    job = Job(OwnJob.here(), store, runs, image, out=to_log)
    job.signals.listen()
    return job.work()


if __name__ == "__main__":
    cli.run("python -m launch.cluster.job", work)
    sys.exit()
