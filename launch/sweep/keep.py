"""Begins a sweep's runs, as many at a time as are wanted, and supervises those that have begun.

Each run is begun as `submit` begins one: by its order, which one launcher alone can create. So a
run has one machine at a time, however many launchers keep the sweep. Which of them still may begin
runs, the sweep's state tells (`mimir.runs.sweep_state`): it is looked at before each order, again
when its attempt is written but no machine is asked for, and after it, when a stop that came in
between is passed on to the run.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType

from launch.contract.errors import NotGone, ProviderError, RateLimited, UnknownOutcome
from launch.providers import registry
from launch.provision.order import Say
from launch.supervise.rounds import rounds
from launch.supervise.watcher import Seen, Watcher
from launch.sweep.begin import FOR_A_PERSON, begin, begin_together
from launch.sweep.plan import queues, share, with_limit
from mimir.errors import (
    BadInput,
    Fenced,
    MimirError,
    StoreDenied,
    StoreError,
    StoreUnfit,
    sentence,
)
from mimir.runs import sweep_state
from mimir.runs.head import ENDED
from mimir.runs.listing import Listed
from mimir.runs.notes import StopRequest
from mimir.runs.order import Plan
from mimir.runs.orders import newest_order, request_stop
from mimir.runs.status import Status, derive
from mimir.runs.store import Store
from mimir.runs.sweep import Member, Sweep

AT_ONCE = 8
"""Runs that are read at a time: a bucket is far away."""
ASK_AGAIN = 60.0
"""Seconds before the next run is tried after one could not be begun for want of a machine."""


@dataclass(frozen=True)
class Round:
    """What was seen, and is left.

    alive: runs that have begun and not ended. waiting: those that have not begun. refused:
    (run, why) of those that could not be begun or read. why: because of what this launcher must
    begin no more, "" for nothing.
    """

    alive: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    why: str = ""

    @property
    def over(self) -> bool:
        return bool(self.why) or not (self.alive or self.waiting)


def look(
    store: Store, sweep: Sweep, known: Mapping[str, Status] = MappingProxyType({})
) -> list[Listed]:
    """All runs of the sweep, in the order of its list; one that cannot be read hides no other.

    known: statuses that do not change any more; those runs are not read again.
    """
    now = store.now()

    def one(member: Member) -> Listed:
        if member.run in known:
            return Listed(member.run, known[member.run])
        try:
            return Listed(member.run, derive(store, member.run, now))
        except (StoreDenied, StoreUnfit):
            raise
        except Exception as error:  # noqa: BLE001 - told in the run's place
            return Listed(member.run, None, sentence(error))

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return list(pool.map(one, sweep.members))


class Keeper:
    """Keeps a sweep under one start of it.

    Args:
        plan: of each run, without the limit of its cost. at_once: runs at a time, which where
            jobs queue are lanes: all are begun, each behind the one before it in its lane;
            max_cost: dollars over all, 0 for no limit. per_job: runs that share a job, which are
            neighbours in the list.
        number: of the state that allows this start.
        again: begin runs anew that have failed or were stopped, once each.
        gives_up: a run fails whose order only a person can mend; else it is left to its watcher.
        clock: seconds that go on whatever the time is set to.
    """

    def __init__(
        self, store: Store, sweep: Sweep, plan: Plan, *, at_once: int, max_cost: float,
        number: int, say: Say, supervisor: Watcher, clock: Callable[[], float], again: bool = False,
        gives_up: bool = True, per_job: int = 1,
    ) -> None:  # fmt: skip
        self._store, self._sweep, self._plan, self._say = store, sweep, plan, say
        self._at_once, self._max_cost, self._number = at_once, max_cost, number
        self._per_job = per_job
        self._watcher, self._clock = supervisor, clock
        self._gives_up = gives_up
        self._names = [member.run for member in sweep.members]
        self._again = {member.run for member in sweep.members} if again else set[str]()
        self._refused: dict[str, str] = {}
        self._closed: set[str] = set()
        self._finished: dict[str, Status] = {}
        self._not_before = float("-inf")
        self._queued = queues([registry.get(name) for name in plan.providers])

    def round(self) -> Round:
        """Look at all runs once, supervise those that have begun, begin the next.

        Raises:
            StoreDenied, StoreUnfit, AuthFailed, BalanceEmpty, Misconfigured: what keeps all runs
                from being begun until a person acts.
            StoreError: the store did not answer; the next round may go on.
        """
        if why := self._ended():
            return Round(why=why)
        looked = look(self._store, self._sweep, self._finished)
        found = {each.run: each.status for each in looked if each.status is not None}
        unread = {each.run: each.problem for each in looked if each.status is None}
        begun = [run for run, status in found.items() if self._is_watchers(status)]
        seen, failed = rounds(self._watcher, lambda: begun, self._say)
        for one in seen:
            self._note(one)
        alive = [one.run for one in seen if not one.over]
        alive += [run for run in failed if run in begun and run not in alive]
        waiting = [
            run for run, status in found.items()
            if run not in begun and run not in self._refused and self._is_to_begin(status)
        ]  # fmt: skip
        for runs in self._by_job(waiting):
            full = len(alive) >= self._at_once and not self._queued
            if full or self._clock() < self._not_before:
                break
            if why := self._ended():
                return Round(tuple(alive), tuple(waiting), why=why)
            alive += self._begin(runs, found)
            waiting = [run for run in waiting if run not in (*self._refused, *alive)]
        return Round(tuple(alive), tuple(waiting), tuple({**unread, **self._refused}.items()))

    def _ended(self) -> str:
        """Why this start is over, "" if it is not."""
        state = sweep_state.read(self._store, self._sweep.name)
        if state.number == self._number:
            return ""
        words = {sweep_state.STOP: "stopped", sweep_state.GO: "taken up by another launcher"}
        return f"sweep {self._sweep.name} was {words.get(state.word, 'removed')}"

    def _is_watchers(self, status: Status) -> bool:
        """Whether the run has begun, and it or a machine of it is not known to be over."""
        if status.state in ENDED:
            return status.run not in self._closed and not self._is_to_begin(status)
        return bool(status.attempt or newest_order(self._store, status.run))

    def _is_to_begin(self, status: Status) -> bool:
        """Whether the run has not begun, or has ended undone and is to begin again."""
        if status.state in ENDED:
            return status.state != "done" and status.run in self._again
        return status.attempt == 0

    def _note(self, one: Seen) -> None:
        if one.over:
            self._closed.add(one.run)
        if one.over and one.status.state == "done":
            # Its machine was just seen to be gone: as of then is what it cost.
            self._finished[one.run] = derive(self._store, one.run, self._store.now())

    def _by_job(self, waiting: Sequence[str]) -> list[list[str]]:
        """The runs that are to begin, as they share jobs: which do is told by the list alone, so
        that each launcher makes the same jobs."""
        found: dict[int, list[str]] = {}
        for run in waiting:
            found.setdefault(self._job_of(run), []).append(run)
        return list(found.values())

    def _job_of(self, run: str) -> int:
        """The number of the run's job, counted from 0."""
        return self._names.index(run) // self._per_job

    def _begin(self, runs: Sequence[str], found: dict[str, Status]) -> list[str]:
        """Begin runs, as the parts of one job if there are several; those that have a machine now,
        or may have one.

        found: what is known of all runs; of those that are begun behind others it is renewed.
        """
        behind = self._behind(runs[0], found)
        members = [each for each in self._sweep.members if each.run in runs]
        now = self._store.now()
        failed: dict[str, MimirError] = {}
        try:
            limit = share(self._max_cost, list(found.values()), len(self._sweep.members), now)
            plan = with_limit(self._plan, limit)
            if len(runs) == 1:
                begin(
                    self._store, self._sweep, members[0], found[runs[0]], plan, self._say,
                    self._number, behind, gives_up=self._gives_up,
                )  # fmt: skip
            else:
                failed = begin_together(
                    self._store, self._sweep, members, found, plan, self._say, self._number, behind
                )
            for run in runs if self._queued else ():
                found[run] = derive(self._store, run, self._store.now())
        except MimirError as error:
            failed = dict.fromkeys(runs, error)
        begun = [run for run in runs if run not in failed or self._is_begun(run, failed[run])]
        self._again -= set(begun)
        if begun and self._ended():
            for run in begun:
                self._pass_on(run)
        return begun

    def _is_begun(self, run: str, error: MimirError) -> bool:
        """What is to be done about a run whose order met this; whether it may have a machine.

        Raises:
            MimirError: what keeps all runs from being begun.
        """
        if isinstance(error, UnknownOutcome | NotGone | Fenced):
            self._say(f"run {run}: {error}")  # its next round finds out
            return True
        if isinstance(error, (*FOR_A_PERSON, StoreDenied, StoreUnfit)):
            raise error
        if isinstance(error, ProviderError | StoreError):
            self._say(f"run {run} could not be begun now: {error}")
            asked = error.retry_after if isinstance(error, RateLimited) else 0.0
            self._not_before = self._clock() + max(ASK_AGAIN, asked)
            return False
        if not isinstance(error, BadInput):
            raise error
        if str(error) not in self._refused.values():
            self._say(f"run {run} is not begun: {error}")
        self._refused[run] = str(error)
        if not self._gives_up and derive(self._store, run, self._store.now()).attempt:
            # It goes on by its watcher, and so would each of the others.
            self._not_before = self._clock() + ASK_AGAIN
        return False

    def _behind(self, run: str, found: Mapping[str, Status]) -> str:
        """The name of the jobs that are last in the run's lane, "" for an empty lane."""
        lanes = max(1, self._at_once // self._per_job)
        if not self._queued or lanes * self._per_job >= len(self._names):
            return ""
        own = self._job_of(run) % lanes
        lane = [each for each in self._names if self._job_of(each) % lanes == own]
        alive = [found[each] for each in lane if each in found and found[each].state not in ENDED]
        last = [status.attempts[-1].machine for status in alive if status.attempts]
        # A cluster counts its jobs, so the newest has the greatest number.
        jobs = sorted((job for job in last if job), key=lambda job: (len(job.id), job.id))
        return jobs[-1].name if jobs else ""

    def _pass_on(self, run: str) -> None:
        """The sweep was stopped while the run was ordered: so is the run."""
        if sweep_state.read(self._store, self._sweep.name).word != sweep_state.GO:
            request = StopRequest(self._store.now(), "the sweep was stopped")
            with contextlib.suppress(BadInput):  # it has ended already
                request_stop(self._store, run, request)
