"""The attempt that submit and resume begin: its order, its beginning, and following it."""

import json as json_text
import sys
from dataclasses import dataclass
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
    """An attempt to begin, and what to tell of it. store_option: --store as it was given."""

    store: "Store"
    name: str
    plan: "Plan"
    store_option: str
    watch: bool
    json: bool

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
            say(f"stopped waiting; run {self.name} goes on by itself")
            say(next_commands(self.name, self.store_option))
            return 130
        for line in seen.lines:
            say(f"  | {line}")
        going = seen.kind in ("running", "waiting", "replaced")
        over = seen.kind == "ended" and seen.code == 0
        kept = ordered.provider.caps.remote and seen.kind == "vanished"
        if self.watch and (over or kept or seen.kind in ("running", "waiting")):
            say(f"{seen.sentence}; Ctrl-C ends the following, not the run")
            return self._watch(ordered.attempt, remote=ordered.provider.caps.remote)
        self._report(ordered, seen)
        if going and not self.json:
            print(next_commands(self.name, self.store_option))
            if ordered.provider.caps.remote:
                print(f"  keep it alive:   {self._command('watch')}")
        elif seen.code:
            say(f"once that is mended: {self._command('resume')}")
        return seen.code

    def _order(self, known: "Status", found: "Found") -> "Ordered":
        from launch.providers import registry
        from launch.provision import kept_plan
        from launch.provision.order import give_up, order
        from launch.ui.terminal import say

        places = [registry.get(each) for each in self.plan.providers]
        try:
            kept_plan.keep(self.store, self.name, self.plan, places)
            return order(self.store, self.name, found.choices, self.plan, say, after=known.attempt)
        except Fenced:
            raise
        except (MimirError, KeyboardInterrupt) as error:
            if self._is_watchers(error):
                raise
            reason = str(error) or "interrupted before its machine was ordered"
            give_up(self.store, self.name, reason, say)
            if isinstance(error, Unclear) and not self.watch:
                raise BadInput(reason) from error
            raise

    def _is_watchers(self, error: BaseException) -> bool:
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
        from launch.supervise.watcher import Watcher
        from launch.ui.terminal import say

        watcher = Watcher(self.store, say, watched=Watched())
        followed = watch_log(
            self.store,
            self.name,
            attempt,
            self.store_option,
            sys.stderr if self.json else sys.stdout,
            keep=(lambda: watcher.round(self.name).over) if remote else None,
        )
        if followed is None:
            return 130
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
