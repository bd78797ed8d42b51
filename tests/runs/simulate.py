"""The real commit code against a store that loses, delays and repeats, under seeded schedules.

Launchers, workers and sweepers are threads of which exactly one runs at any time: each store
operation and each sleep hands the baton back to a seeded scheduler, which picks who goes on,
whom to freeze for a while (a zombie), and whom to kill. One seed is one schedule, again and
again. A request may be lost, its answer may be lost, it may be repeated unseen as an SDK does,
and it may land long after its sender gave up on it. HEAD may be shown as it once was, as a network
file system does. How often each of this happens is drawn by the seed, too. Then the faults end, and
whoever is left goes on.

    python -m tests.runs.simulate --schedules 200000 --jobs 2
    python -m tests.runs.simulate --schedules 20000 --fresh     other seeds at each call
    python -m tests.runs.simulate --seed 4711            one schedule, with its trace

A seed that fails is named, and belongs into FAILED below, where it is played for ever.

What must hold (checked at every change of the store):
  HEAD's attempt never goes back; nor its step, except where corrupt checkpoints are dropped;
  HEAD names only objects that exist, unchanged, written by the attempt that it credits;
  only the attempt and owner at HEAD change it; a finished run stays finished;
  a commit that returned was in HEAD; who is told Fenced was fenced;
  once the faults have ended, all processes come to an end, and a run whose owner lives is done;
  what is left at the end can be taken over, loaded and finished.
"""

import argparse
import contextlib
import multiprocessing
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

from mimir.errors import BadInput, Conflict, Corrupt, Fenced, StoreError
from mimir.runs import collect, notes
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.head import Head
from mimir.runs.store import Store
from tests.runs.actors import CALM, Actor, Rates, Wire
from tests.runs.truth import HEAD, RUN, Mirrored, Truth, Violation
from tests.runs.weakened import VARIANTS

TOTAL = 12
POINTS = 500
"""Of a schedule with faults, at most; most processes end by themselves before."""
CALM_POINTS = 4000
"""Within which all must have ended once the faults have: a worker needs some sixty."""
FAILED: tuple[int, ...] = ()
"""Seeds that have found a mistake, in the protocol or in what is checked here."""


class Simulation:
    """One schedule."""

    def __init__(self, seed: int, truth: Callable[[], Truth] = Truth, trace: bool = False) -> None:
        self.seed, self.rng, self.truth = seed, random.Random(seed), truth()
        self.rates = Rates.drawn(self.rng)
        self.points = self.rng.randrange(50, POINTS)
        self.back = threading.Lock()
        self.back.acquire()
        self.actors: list[Actor] = []
        self.late: list[tuple[Actor, Callable]] = []
        self.failure: BaseException | None = None
        self.trace = trace
        self.point = self.hours = 0

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def land(self, actor: Actor, request: Callable):
        """The request reaches the store; its answer, or the refusal as a value."""
        self.truth.actor = actor
        try:
            return request()
        except (Conflict, Corrupt) as refusal:
            return refusal
        finally:
            self.truth.actor = None

    def patience(self) -> float:
        """Unix s, a reservation further each time: what another launcher ordered is old."""
        self.hours += 1
        return self.hours * 3600.0

    def spawn(self, kind: str, attempt: int, body: Callable) -> None:
        self.actors.append(Actor(self, f"{kind}{len(self.actors)}", attempt, body))

    def say(self, text: str) -> None:
        if self.trace:
            print(f"{self.point:4d} {text}")

    def run(self) -> Counter[str]:
        """Play the schedule; what was counted. Raises Violation, naming the seed."""
        try:
            self.truth.put_if_absent(HEAD, Head(run=RUN, nonce="created").to_bytes())
            self.spawn("launcher", 0, self.launcher)
            if self.chance(0.3):
                self.spawn("launcher", 0, self.launcher)
            while self.point < self.points and self.failure is None:
                self.point += 1
                if not self._one_point():
                    break
            if self.failure is None:
                self._survive()
            if self.failure is not None:
                raise self.failure
            self._recover()
        except Violation as violation:
            raise Violation(f"seed {self.seed}: {violation}") from violation
        finally:
            for actor in self.actors:
                actor.killed = True
                if not actor.over:
                    actor.go.release()
                    self.back.acquire()
                actor.thread.join()
        return self.truth.count

    def _one_point(self) -> bool:
        alive = [actor for actor in self.actors if not actor.over]
        if not alive:
            return False
        if self.late and self.chance(0.05):
            actor, request = self.late.pop(self.rng.randrange(len(self.late)))
            self.land(actor, request)
        if self.chance(self.rates.spoil):
            self.truth.spoil(self.rng)
        awake = [actor for actor in alive if actor.frozen_until <= self.point] or alive
        actor = self.rng.choice(awake)
        if actor.attempt and self.chance(self.rates.kill):
            self.say(f"kill {actor.name}")
            actor.killed = True
        elif self.chance(self.rates.freeze):
            actor.frozen_until = self.point + self.rng.randrange(10, 120)
        actor.go.release()
        self.back.acquire()
        return True

    def launcher(self, me: Actor) -> None:
        wire = Wire(self, me)
        for _ in range(me.rng.randrange(1, 5)):
            try:
                attempt = raise_attempt(wire, RUN, clock=self.patience, sleep=me.pause, rng=me.rng)
            except BadInput:
                return
            except (StoreError, Fenced):
                continue
            self.say(f"{me.name} raised attempt {attempt}")
            self.spawn("worker", attempt, self.worker)
            for _ in range(me.rng.randrange(5, 90)):
                me.pause()
                if me.rng.random() < 0.01:
                    # The provider restarts the container; its predecessor may still live.
                    self.spawn("worker", attempt, self.worker)
            with contextlib.suppress(StoreError):
                self.truth.count["swept"] += len(collect.collect(wire, RUN, say=lambda text: None))

    def worker(self, me: Actor) -> None:
        wire = Wire(self, me)
        try:
            self._work(me, wire)
        except Fenced as fenced:
            self.truth.count["fenced"] += 1
            self.say(f"{me.name} fenced: {fenced}")
            head = self.truth.head
            if head.attempt == me.attempt and head.owner == me.owner and head.state == "running":
                raise Violation(f"{me.name} was told Fenced while it owns HEAD") from fenced
            if head.attempt <= me.attempt and head.state == "queued":
                raise Violation(f"{me.name} was told Fenced while HEAD waits for it") from fenced
        except StoreError as error:
            self.say(f"{me.name} gives up: {error}")
        except Corrupt:
            if not self.truth.spoiled:
                raise Violation(f"{me.name} found corruption where there is none") from None

    def _work(self, me: Actor, wire: Wire) -> None:
        attempt = Attempt.claim(
            wire,
            RUN,
            me.attempt,
            me.owner,
            say=lambda text: None,
            sleep=me.pause,
            rng=me.rng,
        )
        if attempt.ended:
            return
        self.say(f"{me.name} holds attempt {me.attempt}")
        found = attempt.load_newest(lambda data: data)
        step = found[0].step if found else 0
        with contextlib.suppress(StoreError):  # a worker tries again, or commits something newer
            attempt.inherit()
        while step < TOTAL:
            step += me.rng.randrange(1, 4)
            content = f"{step} {me.name} {me.rng.getrandbits(32)}".encode()
            loss = me.rng.random() if me.rng.random() < 0.7 else None
            try:
                kept = attempt.commit(step, content, loss)
            except Fenced:
                raise
            except StoreError:
                continue  # training goes on; a later commit builds on whatever landed
            self.say(f"{me.name} committed step {step}")
            self.truth.count["commits"] += 1
            if kept.key not in self.truth.named:
                raise Violation(f"{kept.key} was reported committed and never was in HEAD")
        attempt.finish("done")
        self.say(f"{me.name} finished")
        self.truth.count["finished"] += 1

    def _survive(self) -> None:
        """No more faults: whoever is left ends, and the run that a living process owns is done."""
        self.rates = CALM
        left = [actor for actor in self.actors if not actor.over]
        for actor in left:
            actor.frozen_until = 0
        until = self.point + CALM_POINTS
        while self.failure is None and self._one_point():
            self.point += 1
            if self.point > until:
                names = ", ".join(actor.name for actor in self.actors if not actor.over)
                raise Violation(f"{names} made no end in {CALM_POINTS} points without a fault")
        head = self.truth.head
        owners = [a for a in left if a.owner == head.owner and a.attempt == head.attempt]
        self.truth.count["survivors"] += len(owners)
        if self.failure is None and owners and head.state != "done" and not self.truth.spoiled:
            raise Violation(f"{owners[0].name} owns HEAD and survived, and the run is {head.state}")

    def _recover(self) -> None:
        """The network is well again: the run can be taken over, loaded and finished."""
        for actor, request in self.late:
            self.land(actor, request)
        truth = self.truth
        if truth.head.state == "done":
            return
        number = raise_attempt(truth, RUN, clock=self.patience, sleep=lambda s: None, rng=self.rng)
        collect.collect(truth, RUN)
        attempt = Attempt.claim(truth, RUN, number, rng=self.rng, say=lambda text: None)
        order = notes.read_order(truth, RUN, number)
        assert order is not None
        known = truth.head.kept
        if truth.head.step < order.step:  # corrupt ones were dropped: more is tried then
            remembered = [kept for kept in order.kept if kept not in known]
            known = tuple(sorted([*remembered, *known], key=lambda kept: kept.step))
        there = [kept for kept in known if kept.key in truth.objects]
        intact = [kept for kept in there if kept.key not in truth.spoiled]
        try:
            found = attempt.load_newest(lambda data: data)
        except Corrupt:
            if intact:
                raise Violation("an intact checkpoint was not found") from None
            return
        if (found[0] if found else None) != (intact[-1] if intact else None):
            raise Violation("not the newest intact checkpoint was loaded")
        attempt.finish("done")


def play(
    seeds: Iterable[int], variant: str = "protocol", store: Callable[[int], Store] | None = None
) -> Counter[str]:
    """Run one schedule per seed; totals of what happened. Violation at the first bad one.

    store: makes an empty one for a seed, which then must answer as the one in memory does.
    """
    truth, weakened = VARIANTS[variant]
    total: Counter[str] = Counter()
    with weakened():
        for seed in seeds:
            mirrored = partial(Mirrored, store(seed)) if store else truth
            total += Simulation(seed, mirrored).run()
            total["schedules"] += 1
    return total


def fresh_seed() -> int:
    """One that nobody has played, as far as chance goes."""
    return random.SystemRandom().randrange(10**6, 10**12)


def _job(arguments: tuple[range, str]) -> Counter[str]:
    return play(*arguments)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.runs.simulate")
    parser.add_argument("--schedules", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--fresh", action="store_true", help="begin at a seed by chance")
    parser.add_argument("--seed", type=int, help="only this seed, with its trace")
    parser.add_argument("--variant", choices=sorted(VARIANTS), default="protocol")
    given = parser.parse_args()
    if given.seed is not None:
        truth, weakened = VARIANTS[given.variant]
        with weakened():
            print(dict(Simulation(given.seed, truth, trace=True).run()))
        return
    began = time.monotonic()
    size = 500
    first = fresh_seed() if given.fresh else given.first
    last = first + given.schedules
    chunks = [(range(a, min(a + size, last)), given.variant) for a in range(first, last, size)]
    total: Counter[str] = Counter()
    with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
        for counted in pool.imap_unordered(_job, chunks):
            total += counted
    print(f"seeds from {first}: {dict(total)} in {time.monotonic() - began:.0f} s: no violation")


if __name__ == "__main__":
    main()
