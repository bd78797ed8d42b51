"""What submit and resume share: options, checks, and the attempt that they begin."""

import json as json_text
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mimir.errors import BadInput, Fenced, MimirError
from mimir.text import nearest

if TYPE_CHECKING:
    from launch.contract.provider import Provider
    from launch.payload.credentials import Wish
    from launch.pricing.budget import Limits
    from launch.provision.choose import Found
    from launch.provision.order import Ordered
    from launch.provision.plan import Plan
    from launch.provision.wait import Beginning
    from mimir.runs.status import Status
    from mimir.runs.store import Store

NO_GPU = "cpu"
"""What a machine without a GPU is called."""


def limits_of(
    max_price: float, max_hours: float, max_cost: float, max_failures: int, max_sessions: int
) -> "Limits":
    from launch.pricing.budget import Limits

    return Limits(max_price, max_hours, max_cost, max_failures, max_sessions)


def with_sessions(limits: "Limits", places: Sequence["Provider"], had: int = 0) -> "Limits":
    """With the providers' own limit of machines in a row, where the user has set none.

    had: machines that the run has had already.
    """
    from dataclasses import replace

    most = min((place.caps.max_sessions for place in places if place.caps.max_sessions), default=0)
    return limits if limits.max_attempts or not most else replace(limits, max_attempts=had + most)


def wish_of(role: str, static_keys: bool) -> "Wish":
    from launch.payload.credentials import Wish, of_role

    if role:
        of_role(role)  # what is no role is refused before anything is begun
    return Wish(role, static_keys)


def gpus_of(words: str) -> tuple[str, ...]:
    """GPU names as pricing/gpus.py has them; BadInput, with the nearest, for an unknown one.

    "cpu" by itself is a machine without one, as Colab has them.
    """
    from launch.pricing import gpus

    return (NO_GPU,) if str(words).strip().lower() == NO_GPU else gpus.matching(str(words))


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
        ordered = self._order(known, found)
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
        kept = ordered.provider.caps.elsewhere and seen.kind == "vanished"
        if self.watch and (over or kept or seen.kind in ("running", "waiting")):
            say(f"{seen.sentence}; Ctrl-C ends the following, not the run")
            return self._watch(ordered)
        self._report(ordered, seen)
        if going and not self.json:
            print(next_commands(self.name, self.store_option))
            if ordered.provider.caps.elsewhere:
                print(f"  keep it alive:   {self._command('watch')}")
        elif seen.code:
            say(f"once that is mended: {self._command('resume')}")
        return seen.code

    def _order(self, known: "Status", found: "Found") -> "Ordered":
        from launch.provision.order import give_up, order
        from launch.ui.terminal import say

        try:
            return order(self.store, self.name, found.choices, self.plan, say, after=known.attempt)
        except Fenced:
            raise
        except (MimirError, KeyboardInterrupt) as error:
            reason = str(error) or "interrupted before its machine was ordered"
            give_up(self.store, self.name, reason, say)
            raise

    def _watch(self, ordered: "Ordered") -> int:
        from launch.commands.look import exit_code, watch_log
        from launch.supervise.watcher import Keeper
        from launch.ui.terminal import say

        keeper = Keeper(self.store, say)
        followed = watch_log(
            self.store,
            self.name,
            ordered.attempt,
            self.store_option,
            sys.stderr if self.json else sys.stdout,
            keep=(lambda: keeper.round(self.name).over)
            if ordered.provider.caps.elsewhere
            else None,
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
                "machine": ordered.machine,
                "beginning": seen.kind,
                "exit_code": seen.code,
                "sentence": seen.sentence,
            }
            print(json_text.dumps(body, indent=2))
            return
        print(f"run {self.name}: {seen.sentence}")

    def _command(self, verb: str) -> str:
        from launch.ui.runs import command

        return command(verb, self.name, self.store_option)


def check_free(store: "Store", name: str, store_option: str) -> "Status":
    """The run's status, if a new attempt takes nothing away from anybody."""
    from launch.provision import liveness
    from launch.ui.runs import command
    from mimir.runs.status import derive

    now = time.time()
    status = derive(store, name, now)
    check_not_done(status, store_option)
    sign = liveness.busy(status, now)
    if sign:
        logs = command("logs", name, store_option, "--follow")
        stop = command("stop", name, store_option)
        take = command("resume", name, store_option, "--take-over")
        raise BadInput(
            f"run {name} is {status.state} already (attempt {status.attempt} {sign}): follow it "
            f"by `{logs}`, stop it first by `{stop}`, or replace its machine by `{take}`"
        )
    return status


def check_not_done(status: "Status", store_option: str) -> None:
    from launch.ui.runs import command

    if status.state == "done":
        pull = command("pull", status.run, store_option)
        raise BadInput(
            f"run {status.run} is done: fetch its model by `{pull}`, or submit under another --name"
        )


def check_settings(settings: dict[str, Any], known: Iterable[str]) -> None:
    # prepare() refuses them too, but it does not know the options of this command.
    known = list(known)
    own = (
        "name",
        "provider",
        "gpu",
        "spot",
        "image",
        "max_price",
        "max_hours",
        "max_cost",
        "max_failures",
        "max_sessions",
        "role",
        "static_keys",
        "store",
        "data",
        "yes",
        "watch",
        "dry_run",
        "json",
        "preset",
    )
    for name in settings:
        if name not in known:
            shown = [word.replace("_", "-") for word in (*known, *own)]
            hint = nearest(name.replace("_", "-"), shown, "--")
            raise BadInput(f"there is no option or setting --{name.replace('_', '-')}{hint}")


def check_name(store: "Store", name: str, places: Sequence["Provider"], store_option: str) -> None:
    """Refuse a name that cannot be used before any offer is asked for."""
    from mimir.runs import layout

    layout.check_run(name)
    if any(place.caps.paid for place in places) and store.read(layout.record_key(name)):
        check_free(store, name, store_option)


def check_image(places: Sequence["Provider"], image: str) -> None:
    for place in places:
        if image and not place.caps.image:
            raise BadInput(
                f"provider {place.name} starts no container, so that --image means nothing to it: "
                "leave it out, or train by --provider docker"
            )


def check_store(places: Sequence["Provider"], url: str) -> None:
    for place in places:
        if place.caps.elsewhere and not url.startswith("s3://"):
            raise BadInput(
                f"a machine of {place.name} cannot reach the store {url}: use a bucket that it "
                "can, --store 's3://BUCKET/PREFIX?endpoint=…' (docs/store.md)"
            )
