"""The attempt that submit and resume begin: its order, its beginning, and following it."""

import json as json_text
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from launch.contract.errors import (
    AuthFailed,
    BalanceEmpty,
    Misconfigured,
    NoCapacity,
    NotGone,
    ProviderError,
    Unclear,
    UnknownOutcome,
)
from mimir.errors import BadInput, Fenced, MimirError
from mimir.text import one_line

if TYPE_CHECKING:
    from launch.provision.choose import Found
    from launch.provision.order import Ordered
    from launch.provision.wait import Beginning
    from mimir.runs.order import Plan
    from mimir.runs.status import Status
    from mimir.runs.store import Store


@dataclass(frozen=True)
class Start:
    """An attempt to begin, and what to tell of it. store_option: --store as it was given.

    notify: URL of the webhook that is told by who watches, "" for none. from_machine: the machine
    gets it too, and tells it itself.
    """

    store: "Store"
    name: str
    plan: "Plan"
    store_option: str
    watch: bool
    json: bool
    notify: str = field(default="", repr=False)
    from_machine: bool = False

    def begin(self, known: "Status", found: "Found") -> int:
        """Order the machine, wait until the attempt has begun, follow it; the exit code."""
        from launch.provision.wait import await_beginning, retire
        from launch.ui.runs import next_commands
        from launch.ui.terminal import Waiting, say

        retire(self.store, known, say)
        try:
            ordered = self._order(known, found)
        except ProviderError as error:
            if not self._is_watchers(error):
                raise
            return self._leave_to_watcher(error)
        try:
            with Waiting() as waiting:
                seen = await_beginning(self.store, ordered, waiting.tick)
        except KeyboardInterrupt:
            return self._interrupted(ordered)
        except MimirError:
            say(self._left(ordered))
            raise
        for line in seen.lines:
            say(f"  | {line}")
        going = seen.kind in ("running", "waiting", "replaced", "queued")
        over = seen.kind == "ended" and seen.code == 0
        caps = ordered.provider.caps
        broke = caps.remote and seen.kind in ("vanished", "lost")
        stays = caps.paid and not caps.ends_itself and seen.kind in ("ended", "short")
        # One that is less than its offer is a watcher's to replace.
        on = over or broke or seen.kind in ("running", "waiting", "short", "queued")
        if self.watch and on:
            say(f"{seen.sentence}; Ctrl-C ends the following, not the run")
            return self._watch(ordered.attempt, remote=caps.remote or caps.queues)
        if broke or stays:
            seen = self._ended(ordered, seen)
        self._report(ordered, seen)
        if going and not self.json:
            print(next_commands(self.name, self.store_option))
            if caps.remote:
                print(f"  keep it alive:   {self._command('watch')}")
        elif seen.code:
            say(f"once that is mended: {self._command('resume')}")
        return seen.code

    def _ended(self, ordered: "Ordered", seen: "Beginning") -> "Beginning":
        """What to tell of an attempt that is over or did not begin, once its machine is ended.

        Nobody watches the run, so no other machine is ordered; a watcher may do so.
        """
        from dataclasses import replace

        from launch.provision.wait import end_machine
        from launch.ui.terminal import say

        try:
            end_machine(self.store, ordered, self._loss(ordered, seen), seen.sentence)
        except (MimirError, KeyboardInterrupt) as error:
            say(str(error) or "interrupted", self._left(ordered))
            return replace(seen, sentence=f"{seen.sentence}; its machine may still be there")
        more = f"{seen.sentence}; its machine is ended, and seen to be gone"
        return replace(seen, sentence=more)

    def _loss(self, ordered: "Ordered", seen: "Beginning") -> str:
        """Gone.kind of its machine; of an attempt that has ended as `watch` would write it."""
        from launch.supervise.diagnosis import Observation, diagnose
        from mimir.runs.status import derive

        if seen.kind in ("vanished", "lost"):
            return "failure"
        status = derive(self.store, self.name, self.store.now())
        if status.attempt != ordered.attempt:
            return "over"
        order = status.attempts[-1].order
        return diagnose(Observation(status, order, None, "", status.at)).loss or "over"

    def _interrupted(self, ordered: "Ordered") -> int:
        """After Ctrl-C: end the machine or leave it, as the user says; the exit code."""
        from launch.provision.wait import end_machine
        from launch.ui.confirm import end_or_leave
        from launch.ui.runs import machine_text, next_commands
        from launch.ui.terminal import say
        from mimir.runs.begin import end_attempt

        remote = ordered.provider.caps.remote
        if remote and end_or_leave(machine_text(ordered.machine)):
            why = "ended by Ctrl-C before it began"
            try:
                # First the run: to a watcher, one whose machine is gone lacks another machine.
                try:
                    end_attempt(self.store, self.name, ordered.attempt, "stopped", why)
                except MimirError as error:
                    say(f"run {self.name} is not stopped, a watcher may go on with it: {error}")
                end_machine(self.store, ordered, "over", why)
            except (MimirError, KeyboardInterrupt) as error:
                say(str(error) or "interrupted", self._left(ordered))
            else:
                say(
                    f"the machine is ended, and seen to be gone; go on by {self._command('resume')}"
                )
            return 130
        say(f"stopped waiting; run {self.name} goes on by itself")
        if remote:
            say(self._left(ordered))
        say(next_commands(self.name, self.store_option))
        return 130

    def _left(self, ordered: "Ordered") -> str:
        """What to know of a machine that nobody waits for any more."""
        from launch.ui.runs import ending_command, machine_text

        machine, caps = ordered.machine, ordered.provider.caps
        if not caps.remote:
            return f"the machine of attempt {ordered.attempt} is left as it is"
        paid = ", and is paid for as long as it is there" if caps.paid else ""
        ends = ending_command(machine.provider, machine.id, self.store_option)
        how = f"this ends it: {ends}" if caps.paid else f"`{self._command('stop')}` ends it"
        return (
            f"the machine of attempt {ordered.attempt} is left ({machine_text(machine)}){paid}; "
            f"if it never begins or is over, `{self._command('watch')}` ends it, and {how}"
        )

    def _order(self, known: "Status", found: "Found") -> "Ordered":
        from launch.providers import registry
        from launch.provision import kept_plan
        from launch.provision.order import give_up, order
        from launch.ui.terminal import say
        from mimir.worker import webhook

        places = [registry.get(each) for each in self.plan.providers]
        try:
            kept_plan.keep(self.store, self.name, self.plan, places)
            extra = {webhook.FROM_MACHINE: self.notify} if self.from_machine else {}
            return order(
                self.store, self.name, found.choices, self.plan, say, after=known.attempt,
                extra=extra, sleep=time.sleep,
            )  # fmt: skip
        except Fenced:
            raise
        except KeyboardInterrupt:
            self._end_interrupted(known)
            raise
        except MimirError as error:
            if self._is_watchers(error):
                raise
            give_up(self.store, self.name, str(error), say)
            if isinstance(error, Unclear) and not self.watch:
                raise BadInput(str(error)) from error
            raise

    def _end_interrupted(self, known: "Status") -> None:
        """After Ctrl-C before the order was answered: the run ends, a machine may be there."""
        from launch.providers import registry
        from launch.provision.order import give_up
        from launch.ui.runs import command
        from launch.ui.terminal import say

        reason = "interrupted before its machine was ordered"
        if self._may_have_machine(known):
            reason = "interrupted while its machine was being ordered: there may be one"
            caps = [registry.get(each).caps for each in self.plan.providers]
            paid = ", and be paid for" if any(each.paid for each in caps) else ""
            ends = command("watch", self.name, self.store_option, "--once")
            say(
                f"its machine was being ordered, and may be there{paid}: `{ends}` finds and ends "
                "it (its service may take two minutes to list it)"
                if any(each.remote for each in caps)
                else "its worker was being started: if it runs, it is turned away"
            )
        give_up(self.store, self.name, reason, say)

    def _may_have_machine(self, known: "Status") -> bool:
        """Whether there is an order of this command's that is not known to have been refused."""
        from mimir.runs import notes, orders

        try:
            newest = orders.newest_order(self.store, self.name)
            return newest > known.attempt and not notes.read_gone(self.store, self.name, newest)
        except MimirError:
            return True

    def _is_watchers(self, error: MimirError) -> bool:
        """Whether a watcher goes on from this: the run is not ended for it.

        There may be a machine, which only the service's list tells in a while; or, with --watch,
        the service did not take the order now for a reason that passes.
        """
        if isinstance(error, UnknownOutcome | NotGone):
            return True
        lasting = (NoCapacity, AuthFailed, BalanceEmpty, Misconfigured)
        return self.watch and isinstance(error, ProviderError) and not isinstance(error, lasting)

    def _leave_to_watcher(self, error: ProviderError) -> int:
        """Watch a run whose order has no answer yet; where nobody watches, say who must (75)."""
        from launch.providers import registry
        from launch.ui.terminal import say
        from mimir.runs.status import read_head

        remote = any(registry.get(each).caps.remote for each in self.plan.providers)
        if not (self.watch and remote):
            raise ProviderError(
                f"{error}. Run {self.name} is not over: `{self._command('watch')}` takes the "
                "machine if it comes up, and orders another if there is none"
            ) from error
        say(f"{error}; the run goes on: its machine is looked for, else another one is ordered")
        return self._watch(read_head(self.store, self.name).attempt, remote=True)

    def _watch(self, attempt: int, *, remote: bool) -> int:
        from launch.commands.following import exit_code, watch_log
        from launch.provision.liveness import Watched
        from launch.supervise.notify import Notifier
        from launch.supervise.watcher import Watcher
        from launch.ui.terminal import say

        watcher = Watcher(self.store, say, watched=Watched())
        notifier = Notifier(self.store, self.notify, say)

        def keep() -> bool:
            seen = watcher.round(self.name)
            notifier.after(seen)
            return seen.over

        followed = watch_log(
            self.store,
            self.name,
            attempt,
            self.store_option,
            sys.stderr if self.json else sys.stdout,
            keep=keep if remote else None,
        )
        if followed is None:
            return 130
        notifier.ended(followed.status)
        code = exit_code(followed)
        if self.json:
            print(json_text.dumps({**followed.status.as_json(), "exit_code": code}, indent=2))
        elif code == 0:
            print(f"fetch the model: {self._command('pull')}")
        else:
            say(f"to go on: {self._command('resume')}")
        return code

    def _report(self, ordered: "Ordered", seen: "Beginning") -> None:
        if self.json:
            body = {
                "run": self.name,
                "attempt": ordered.attempt,
                "store": self.store.url,
                "machine": ordered.machine.as_json(),
                "beginning": seen.kind,
                "exit_code": seen.code,
                "sentence": seen.sentence,
            }
            print(json_text.dumps(body, indent=2))
            return
        print(f"run {self.name}: {one_line(seen.sentence)}")

    def _command(self, verb: str) -> str:
        from launch.ui.runs import command

        return command(verb, self.name, self.store_option)
