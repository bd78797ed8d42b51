"""The signals that a job gets from its cluster, and what becomes of the job after each.

Slurm sends the same signal before a preemption, before the time limit and after a `scancel`. Which
of them it was, only the controller tells, and it may be away just then.
"""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from launch.providers.slurm.options import SIGNALS
from launch.providers.slurm.own_job import Fate, OwnJob

ASK_TRIES = 12
"""Questions to Slurm about the job's fate, five seconds apart, while its controller is away."""


class Signals:
    """Of one start of a job.

    Args:
        first: is called at the first signal.
        ended: is called once a person is known to have ended the job, and at once: it has little
            time then.
    """

    def __init__(
        self, own: OwnJob, first: Callable[[], None], ended: Callable[[], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._own, self._first, self._ended, self._sleep = own, first, ended, sleep
        self.heard = 0
        self._judging: list[threading.Thread] = []
        self._asking = threading.Lock()
        # A handler may interrupt the thread that holds it.
        self._hearing = threading.RLock()
        self._fate = Fate.GOES

    def listen(self) -> None:
        for name in SIGNALS:
            signal.signal(getattr(signal, f"SIG{name}"), self.hear)

    def give_up(self) -> None:
        """Leave them to the system: Slurm's end of this start, which nothing is to survive."""
        for name in SIGNALS:
            signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_DFL)

    def hear(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Asks at each signal what becomes of the job, because a person may cancel it while
        workers write their last checkpoints."""
        with self._hearing:  # or `judged` could miss the judge of a signal that counts already
            self.heard += 1
            if self.heard == 1:
                self._first()
            judge = threading.Thread(
                target=self._judge, args=(self.heard,), name="judge", daemon=True
            )  # fmt: skip
            judge.start()
            self._judging.append(judge)

    def ask(self) -> None:
        """Ask Slurm now, also where there was no signal: one may have reached a worker first."""
        self._judge(self.heard)

    def judged(self) -> Fate:
        """What becomes of the job, once each signal until now is judged."""
        with self._hearing:
            judging = list(self._judging)
        for each in judging:
            each.join()
        return self._fate

    def _judge(self, heard: int) -> None:
        """heard: signals until now. Of several only the newest need be asked for, and its answer
        stays."""
        with self._asking:
            for _ in range(ASK_TRIES):
                if heard < self.heard:
                    return
                self._fate = self._own.fate()
                if self._fate is not Fate.UNKNOWN:
                    break
                self._sleep(5.0)
            if self._fate is Fate.ENDED:
                self._ended()
