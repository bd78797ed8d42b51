"""submit and resume: two ways to begin an attempt."""

import json as json_text
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mimir.cli import nearest
from mimir.errors import BadInput

if TYPE_CHECKING:
    from launch.attempts import Beginning, Ordered
    from launch.keys import Wish
    from launch.providers.base import Provider
    from mimir.runs.status import Status
    from mimir.runs.store import Store
    from mimir.submission import Job


def submit(
    preset: str = "small",
    *,
    name: str = "",
    provider: str = "local",
    image: str = "",
    store: str = "",
    data: str = "",
    yes: bool = False,
    max_hours: float = 0.0,
    role: str = "",
    static_keys: bool = False,
    watch: bool = False,
    dry_run: bool = False,
    json: bool = False,
    **settings: object,
) -> int:
    """Train a preset on a machine; the terminal may be closed at any time.

    A name that exists with the same configuration goes on from its last checkpoint.

    Args:
        preset: smoke, small, medium, large, or a YAML file of your own.
        name: name of the run (default: a fresh one).
        provider: where to train; local is this computer, docker a container on it.
        image: a container image with Python and torch to train in (default: Mimir's own).
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        data: a CSV (sequence,label,target) or a packed data set (default: the shipped sample).
        yes: do not ask before ordering a machine that costs money.
        max_hours: commit and end after this many hours; 0: no limit. `resume` goes on.
        role: for an s3:// store, the ARN of a role whose keys, cut down to this attempt, the
            machine gets (default: $MIMIR_ROLE_ARN); this computer's own stay here.
        static_keys: hand your own keys to the machine all the same.
        watch: follow the log until the run ends; exit with 0 only if it is done.
        dry_run: show the plan and order nothing.
        json: print JSON.
        settings: any setting of the preset, such as --lr 3e-4 or --epochs 2.

    Example:
        python -m launch submit --preset small --name first --epochs 2
    """
    from launch import code
    from launch.keys import Wish
    from launch.providers import registry
    from launch.terminal import say
    from mimir.config import SETTINGS
    from mimir.runs.store import open_store
    from mimir.submission import default_store, enter, fresh_name, prepare

    _check_settings(settings, SETTINGS)
    wish, hours = Wish(role, static_keys), _hours(max_hours)
    place = registry.get(provider)
    _check_image(place, image)
    opened = open_store(store or default_store())
    job = prepare(preset, settings, data)
    name = name or fresh_name(preset)
    say(_plan(job, name, opened.url, provider))
    if dry_run:
        if json:
            print(json_text.dumps(_plan_json(job, name, opened.url, provider), indent=2))
        return 0
    _agree(place, yes=yes)
    with code.file() as wheel:
        enter(opened, name, job, wheel)
    known = _check_free(opened, name, store)
    if known.attempt:
        say(f"run {name} is {known.state} and goes on from step {known.committed_step}")
    return _Start(opened, name, place, image, wish, hours, store, watch, json).begin(known)


def resume(
    name: str,
    *,
    provider: str = "",
    image: str = "",
    store: str = "",
    max_hours: float = 0.0,
    role: str = "",
    static_keys: bool = False,
    take_over: bool = False,
    yes: bool = False,
    watch: bool = False,
    json: bool = False,
) -> int:
    """Go on with a run on a new machine, from its last checkpoint.

    Args:
        name: of the run.
        provider: where to train (default: where it trained last, or local).
        image: a container image with Python and torch (default: that of last time).
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        max_hours: commit and end after this many hours; 0: no limit. `resume` goes on.
        role: for an s3:// store, the ARN of a role whose keys, cut down to this attempt, the
            machine gets (default: $MIMIR_ROLE_ARN); this computer's own stay here.
        static_keys: hand your own keys to the machine all the same.
        take_over: also if a machine works on it; that machine is ended.
        yes: do not ask before ordering a machine that costs money.
        watch: follow the log until the run ends; exit with 0 only if it is done.
        json: print JSON.

    Example:
        python -m launch resume first --watch
    """
    from launch import machines
    from launch.keys import Wish
    from launch.providers import registry
    from mimir.runs.status import derive
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    wish, hours = Wish(role, static_keys), _hours(max_hours)
    place = registry.get(provider) if provider else None
    opened = open_store(store or default_store())
    if take_over:
        known = derive(opened, name, time.time())
        _check_not_done(known, store)
    else:
        known = _check_free(opened, name, store)
    last = machines.current(known)
    place = place or machines.provider_of(last) or registry.get("local")
    _check_image(place, image)
    if not image and last and last.get("provider") == place.name:
        image = str(last.get("image") or "")
    _agree(place, yes=yes)
    return _Start(opened, name, place, image, wish, hours, store, watch, json).begin(known)


def _hours(value: float) -> float:
    if not 0 <= value < float("inf"):
        raise BadInput(f"max-hours is {value}, but must be 0 (no limit) or more")
    return value


@dataclass(frozen=True)
class _Start:
    """An attempt to begin, and what to tell of it. store_option: --store as it was given."""

    store: "Store"
    name: str
    provider: "Provider"
    image: str
    wish: "Wish"
    hours: float
    store_option: str
    watch: bool
    json: bool

    def begin(self, known: "Status") -> int:
        """Order the machine, wait until the attempt has begun, follow it; the exit code."""
        from launch.attempts import await_beginning, order, retire
        from launch.show import next_commands
        from launch.terminal import Waiting, say

        retire(known, say)
        deadline = time.time() + self.hours * 3600 if self.hours else 0.0
        ordered = order(self.store, self.name, self.provider, say, self.image, self.wish, deadline)
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
        if self.watch and (over or seen.kind in ("running", "waiting")):
            say(f"{seen.sentence}; Ctrl-C ends the following, not the run")
            return self._watch(ordered)
        self._report(ordered, seen)
        if going and not self.json:
            print(next_commands(self.name, self.store_option))
        elif seen.code:
            say(f"once that is mended: {self._command('resume')}")
        return seen.code

    def _watch(self, ordered: "Ordered") -> int:
        from launch.commands.look import exit_code, watch_log
        from launch.terminal import say

        followed = watch_log(
            self.store,
            self.name,
            ordered.attempt,
            self.store_option,
            sys.stderr if self.json else sys.stdout,
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
        from launch.show import command

        return command(verb, self.name, self.store_option)


def _check_free(store: "Store", name: str, store_option: str) -> "Status":
    """The run's status, if a new attempt takes nothing away from anybody."""
    from launch import machines
    from launch.show import command
    from mimir.runs.status import derive

    now = time.time()
    status = derive(store, name, now)
    _check_not_done(status, store_option)
    sign = machines.busy(status, now)
    if sign:
        logs = command("logs", name, store_option, "--follow")
        stop = command("stop", name, store_option)
        take = command("resume", name, store_option, "--take-over")
        raise BadInput(
            f"run {name} is {status.state} already (attempt {status.attempt} {sign}): follow it "
            f"by `{logs}`, stop it first by `{stop}`, or replace its machine by `{take}`"
        )
    return status


def _check_not_done(status: "Status", store_option: str) -> None:
    from launch.show import command

    if status.state == "done":
        pull = command("pull", status.run, store_option)
        raise BadInput(
            f"run {status.run} is done: fetch its model by `{pull}`, or submit under another --name"
        )


def _check_settings(settings: dict[str, Any], known: Iterable[str]) -> None:
    # prepare() refuses them too, but it does not know the options of this command.
    known = list(known)
    own = (
        "name",
        "provider",
        "image",
        "max_hours",
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


def _check_image(provider: "Provider", image: str) -> None:
    if image and not provider.caps.image:
        raise BadInput(
            f"provider {provider.name} starts no container, so that --image means nothing to it: "
            "leave it out, or train by --provider docker"
        )


def _agree(provider: "Provider", *, yes: bool) -> None:
    """Ask before money is spent; BadInput unless the answer is yes."""
    if yes or not provider.caps.paid:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"a machine of {provider.name} costs money: say --yes to order it")
    print(f"Order a machine of {provider.name}, which costs money? [y/N] ", end="", file=sys.stderr)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise BadInput("nothing was ordered")


def _plan_json(job: "Job", name: str, store: str, provider: str) -> dict[str, Any]:
    return {
        "run": name,
        "preset": job.config.preset,
        "peptides": job.peptides,
        "steps": job.steps,
        "store": store,
        "provider": provider,
        "config": job.config.as_dict(),
    }


def _plan(job: "Job", name: str, store: str, provider: str) -> str:
    training = job.config.training
    rows = (
        ("run", name),
        ("preset", job.config.preset),
        ("data", f"{job.peptides:,} peptides"),
        ("steps", f"{job.steps:,} ({training.epochs} epochs in batches of {training.batch})"),
        ("store", store),
        ("provider", provider),
    )
    return "\n".join(f"  {what:<9} {value}" for what, value in rows)
