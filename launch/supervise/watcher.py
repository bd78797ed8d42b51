"""Supervises runs: terminates machines that are done or lost, and orders new ones.

A machine of an attempt that has ended is ended, and seen to be gone, before anything else; then
the next attempt is ordered, unless somebody asked to stop, or a limit is reached. Any number of
watchers may work on a run at once: the right to order is one object in the store.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from launch.contract.errors import AuthFailed, BalanceEmpty, NotGone, ProviderError, UnknownOutcome
from launch.contract.provider import Provider
from launch.pricing.budget import UsedUp
from launch.providers import registry
from launch.provision import choose as choosing
from launch.provision import failed_hosts, kept_plan, liveness, terminate
from launch.provision.choice import Choice
from launch.provision.liveness import Watched
from launch.provision.order import Say, order
from launch.provision.plan import newest_plan
from launch.supervise import diagnosis, key_refresh, limits
from launch.supervise.backoff import Backoff
from launch.supervise.diagnosis import Diagnosis, Observation, diagnose, look, observe
from launch.supervise.overtime import end_overdue
from launch.ui import runs
from mimir.errors import (
    BadInput,
    Fenced,
    StoreError,
    sentence,
)
from mimir.runs import notes, orders, tombstone
from mimir.runs.begin import end_attempt
from mimir.runs.head import ENDED
from mimir.runs.notes import Gone
from mimir.runs.order import Order, Plan
from mimir.runs.status import Status, derive, seal_if_done
from mimir.runs.store import Store

ASK_AGAIN, ASK_AGAIN_LONGEST = 60.0, 600.0
"""Seconds after a refusal before offers are asked for again, and after many: each refusal is an
attempt, and every look at the run reads them all."""

MOST_IDLE = 6
"""Machines in a row that may leave no new step, those included that are not counted as failures:
offers that were not what they promised, evictions before the first checkpoint, deadlines."""

FRESH = 10.0
"""Seconds after which what was read of a run is read again before anything is done about it."""

Choose = Callable[[Store, Plan, Status, float, Say], Sequence[Choice]]


@dataclass(frozen=True)
class Seen:
    """A run after a round. over: nothing is left to keep, and no machine of it is known to live.

    acted: a machine was ended or ordered, or HEAD was written. problem: what a person must mend
    here before the run can be kept, "" for nothing.
    """

    run: str
    status: Status
    over: bool
    acted: bool
    sentence: str
    problem: str = ""


class Watcher:
    """Keeps the runs of a store.

    Args:
        choose: what may be ordered for a run now, best first.
        provider: by name.
        watched: remembers heartbeats from round to round; None for who makes one round only.
        clock: seconds that go on whatever the time is set to.
    """

    def __init__(
        self,
        store: Store,
        say: Say,
        *,
        choose: Choose = choosing.choose,
        provider: Callable[[str], Provider] = registry.get,
        watched: Watched | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._say, self._now = store, say, store.now
        self._choose, self._provider = choose, provider
        self._watched, self._sleep, self._clock = watched, sleep, clock
        self._without_key = Backoff(ASK_AGAIN, ASK_AGAIN_LONGEST)

    def concerned(self, run: str) -> bool:
        """Whether the run's machines are somebody else's: others are kept only when named, for
        one that was interrupted on one's own computer may have been given up on purpose."""
        try:
            kept = kept_plan.governing(self._store.url, run)
            newest = orders.newest_order(self._store, run)
            plan = kept.plan if kept else newest_plan(self._store, run, newest)
            caps = [self._provider(name).caps for name in plan.providers] if plan else []
        except Exception:  # noqa: BLE001 - it cannot be read: its round says why
            return True
        return any(each.remote for each in caps)

    def read(self, run: str) -> Status:
        """The run's status, for a round of it soon; several threads may ask at once."""
        return derive(self._store, run, self._now())

    def round(self, run: str, read: Status | None = None) -> Seen:
        """Look at the run once, and do what is to be done.

        Args:
            read: its status if that was read already; an old one is read again.

        Raises:
            MimirError: of the store; what a provider says is told and tried again next time.
        """
        young = read is not None and abs(self._now() - read.at) <= FRESH
        observed = self._observe(read if read is not None and young else self.read(run))
        found = diagnose(observed)
        status = observed.status
        try:
            if found.kind in ("idle", "fine"):
                self._refresh_keys(observed)
                problem = liveness.without_key(status, self._provider) or observed.problem
                return self._seen(status, found.kind == "idle", False, found.why, problem)
            if found.kind == "unanswered":
                return self._adopt_or_wait(observed, found)
            if found.kind == "over":
                seal_if_done(self._store, status, status.at)
                if diagnosis.is_finishing(self._store, observed, self._now()):
                    return self._seen(status, False, False, "its worker writes the end of its log")
                acted = self._close(status, Gone(self._now(), "over", found.why))
                acted |= self._close_later(status, found.why)
                return self._seen(status, True, acted, found.why)
            return self._replace(observed, found)
        except (NotGone, UnknownOutcome) as error:
            return self._seen(status, False, True, str(error))
        except Fenced as error:
            return self._seen(status, False, False, str(error))
        except UsedUp as error:
            return self._give_up(status, "stopped", f"{error}: {limits.more(run)}")
        except AuthFailed as error:
            # Not the run's end: another watcher may have the key that is missing here.
            return self._seen(status, False, False, str(error), str(error))
        except BalanceEmpty as error:
            if status.sweep and not any(each.machine for each in status.attempts):
                # It has not begun. If it failed, the sweep's next run would take its place, and
                # all would fail one after another.
                return self._seen(status, False, False, str(error), str(error))
            return self._give_up(status, "failed", str(error))
        except ProviderError as error:
            return self._seen(status, False, False, str(error))

    def _observe(self, status: Status) -> Observation:
        run, attempts = status.run, status.attempts
        last = attempts[-1].order if attempts else self._first_order(run)
        kept = kept_plan.governing(self._store.url, run)
        if last is not None and kept is not None:  # what the store says may be a machine's
            last = replace(last, plan=kept.plan)
        if self._watched is not None:
            unchanged = self._watched.unchanged(run, status.attempt, status.beat)
            return observe(status, last, self._provider, unchanged)
        seen = look(self._store, status, last, self._provider, sleep=self._sleep, clock=self._clock)
        # While it was watched, somebody may have begun another attempt, whose order is another one.
        return seen if seen.status.attempt == status.attempt else self._observe(self.read(run))

    def _first_order(self, run: str) -> Order | None:
        """Of a run without attempts, whose launcher ended before it raised HEAD. Its number comes
        after those of removed runs of this name, of which somebody may have left an order."""
        number = orders.newest_order(self._store, run)
        removed = tombstone.find(self._store, run) if number else None
        if number <= orders.before_first(self._store, run, removed):
            return None
        return notes.read_order(self._store, run, number)

    def _adopt_or_wait(self, observed: Observation, found: Diagnosis) -> Seen:
        status = observed.status
        if status.attempt and self._adopt(status):
            return self._seen(status, False, True, "its machine is there; it is on record now")
        return self._seen(status, False, False, found.why)

    def _adopt(self, status: Status) -> bool:
        """Write down the machine of an order whose answer was lost, if its service has it."""
        found = terminate.adopt(self._store, status.run, status.attempts[-1], self._provider)
        return found is not None

    def _close(self, status: Status, gone: Gone) -> bool:
        """End all machines of the run's attempts and write that they are gone; NotGone else."""
        acted = False
        for attempt in status.attempts:
            last = attempt.attempt == status.attempt
            what = gone if last else Gone(gone.time, "over", "a later attempt replaced it")
            acted |= terminate.close(self._store, status.run, attempt, what, self._provider)
        return acted

    def _close_later(self, status: Status, why: str) -> bool:
        """As `_close`, of what was ordered after the attempt by which the run has ended."""
        gone, acted = Gone(self._now(), "over", why), False
        for each in list(terminate.ordered_after(self._store, status.run, status.attempt)):
            acted |= terminate.close(self._store, status.run, each, gone, self._provider)
        return acted

    def _replace(self, observed: Observation, found: Diagnosis) -> Seen:
        status, run = observed.status, observed.status.run
        current = status.attempts[-1] if status.attempts else None
        if current is not None and current.gone is None:
            if current.machine is None and self._adopt(status):  # it has come up after all
                return self._seen(status, False, True, "its machine is there; it is on record now")
            self._say(f"attempt {status.attempt} of run {run} has ended: {found.why}")
            gone = Gone(self._now(), found.loss, found.why)
            self._close(status, gone)
            failed_hosts.remember(self._store, run, current, gone, self._say)
        elif not status.stop_requested:
            seconds, why = self._without_key.waits(run, self._clock())
            if seconds > 0:
                told = f"{why}; asked again in {seconds:.0f} s"
                return self._seen(status, False, False, told, why)
        status = derive(self._store, run, self._now())
        if status.state in ENDED:  # it came to its end while its machine was being ended
            return self._seen(status, True, True, f"run {run} is {status.state}")
        if status.attempt != observed.status.attempt:  # which nobody has looked at here
            raise Fenced(_theirs(status))
        end = self._end_of(status, observed.order)
        if end is not None:
            return self._give_up(status, *end)
        assert observed.order is not None
        kept = kept_plan.governing(self._store.url, run)
        plan = kept_plan.going_on(self._store.url, run, observed.order.plan)
        if plan is None:
            doubt = kept_plan.doubt(self._store.url, run, observed.order.plan)
            return self._seen(status, False, False, _not_from_here(run, found.why, doubt))
        if kept is not None and (why := kept.used_up(self._now())):
            raise UsedUp(why)
        wait = self._pause(status)
        if wait > 0:
            why = status.attempts[-1].end
            return self._seen(status, False, False, f"waiting {wait:.0f} s to ask again: {why}")
        try:
            choices = self._choose(self._store, plan, status, self._now(), self._say)
        except AuthFailed as error:
            self._without_key.refused(run, str(error), self._clock())
            raise
        self._without_key.forget(run)
        ordered = order(
            self._store, run, choices, plan, self._say, after=status.attempt,
            since=observed.order.since,
        )  # fmt: skip
        sentence = f"attempt {ordered.attempt} is ordered: {runs.machine_text(ordered.machine)}"
        self._say(f"run {run}: {sentence}")
        return self._seen(derive(self._store, run, self._now()), False, True, sentence)

    def _pause(self, status: Status) -> float:
        """Seconds to wait before offers are asked for: the longer, the more were refused."""
        refused = 0
        for attempt in reversed(status.attempts):
            if attempt.gone is None or attempt.gone.kind != "refused":
                break
            refused += 1
        if not refused:
            return 0.0
        last = status.attempts[-1].gone
        assert last is not None
        return last.time + min(ASK_AGAIN_LONGEST, ASK_AGAIN * max(1, refused // 2)) - self._now()

    def _end_of(self, status: Status, last: Order | None) -> tuple[str, str] | None:
        """(state, reason) if the run shall not go on."""
        if last is None:
            return "failed", "its order cannot be read, so that nobody knows what it may cost"
        if self._provider(last.provider).caps.queues:
            # Its cluster starts it again; where it does not, somebody has ended it on purpose.
            end = status.attempts[-1].end if status.attempts else "it never began"
            return "stopped", f"{end}; go on by `{runs.command('resume', status.run)}`"
        ending = limits.ending(self._store, status, last, MOST_IDLE)
        if ending is None and diagnosis.without_progress(status, last.since):
            last_end = status.attempts[-1].end
            return "failed", f"two attempts have left no new step, the last one: {last_end}"
        return ending

    def _give_up(self, judged: Status, state: str, reason: str) -> Seen:
        """End the run at the attempt that was judged, or at one that was refused since then."""
        run = judged.run
        status = derive(self._store, run, self._now())
        if status.state not in ENDED:
            last = status.attempts[-1] if status.attempts else None
            refused = last is not None and last.gone is not None and last.gone.kind == "refused"
            try:
                if status.attempt != judged.attempt and not refused:
                    raise Fenced(_theirs(status))
                end_attempt(self._store, run, status.attempt, state, reason)
            except Fenced as error:
                return self._seen(status, False, False, str(error))
            self._say(f"run {run} is {state}: {reason}")
        return self._seen(derive(self._store, run, self._now()), True, True, reason)

    def _refresh_keys(self, observed: Observation) -> None:
        """New keys into the file of a machine of this computer, before the old ones end."""
        machine, order = liveness.current(observed.status), observed.order
        if machine is None or order is None:
            return
        try:
            key_refresh.if_due(
                machine, self._store.url, observed.status.run, observed.status.attempt,
                order.plan.keys, self._now, sweep=observed.status.sweep,
            )  # fmt: skip
        except (StoreError, BadInput) as error:
            self._say(f"the keys of run {observed.status.run} could not be replaced: {error}")

    def end_overdue(self, run: str) -> str:
        """Of a run that cannot be judged: end its machine long after its deadline. As overtime's,
        but what goes wrong is told by that."""
        try:
            return "; ".join(end_overdue(self._store, run, self._provider, self._now()))
        except Exception as error:  # noqa: BLE001 - told; the next round tries again
            return f"no machine of run {run} can be ended by its deadline: {sentence(error)}"

    def _seen(
        self, status: Status, over: bool, acted: bool, sentence: str, problem: str = ""
    ) -> Seen:
        if problem:
            self._say(f"run {status.run}: {problem}")
        told = f"{sentence}; {status.warning}" if status.warning else sentence
        return Seen(status.run, status, over, acted, told, problem)


def _theirs(status: Status) -> str:
    return f"somebody else has begun attempt {status.attempt} of run {status.run} meanwhile"


def _not_from_here(run: str, why: str, doubt: str) -> str:
    return (
        f"{why}; nothing is ordered from here, because {doubt}, so that a machine may have written "
        f"its orders: go on where it was submitted, or by `{runs.command('resume', run)}`, which "
        "takes neither keys nor image from them"
    )
