"""Checks of what was given to commands, and what it means."""

import inspect
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mimir.cli import as_option
from mimir.errors import BadInput
from mimir.text import nearest

if TYPE_CHECKING:
    from launch.contract.provider import Provider
    from mimir.config import Config
    from mimir.runs.order import KeySource, Limits, Plan
    from mimir.runs.origin import Start
    from mimir.runs.status import Status
    from mimir.runs.store import Store
    from mimir.submission import Entry, Job

NO_GPU = "cpu"
"""What a machine without a GPU is called."""


def given(command: Callable[..., Any], values: Mapping[str, object]) -> frozenset[str]:
    """The command's parameters that were said: those with another value than the default."""
    parameters = inspect.signature(command).parameters.values()
    named = [each for each in parameters if each.kind != each.VAR_KEYWORD]
    return frozenset(each.name for each in named if values[each.name] != each.default)


def text_of(name: str, value: object) -> str:
    """An option's text as a program gives it: "" for None, a list's words with commas between.

    BadInput for what is no text.
    """
    each = value if isinstance(value, list | tuple) else () if value is None else (value,)
    if not all(isinstance(word, str | os.PathLike) for word in each):
        raise BadInput(f"{as_option(name)} is {value!r}, but must be text, or a list of texts")
    return ",".join(os.fspath(word) for word in each)


def distinct(names: Sequence[str], what: str) -> list[str]:
    """The names; BadInput if one of them is given twice. what: is done to them, for people."""
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"run {name} is named twice: {what} once")
    return list(names)


def with_budgets(limits: "Limits", month: float | None, store: float | None) -> "Limits":
    """With the budgets of all runs: as said, else as they are, else as the environment has them.

    month, store: dollars; None for what was not said.
    """
    from dataclasses import replace

    for name, said in (("max_cost_month", month), ("max_cost_store", store)):
        given: object = said
        variable = f"MIMIR_{name.upper()}"
        if given is None and not getattr(limits, name) and os.environ.get(variable, "").strip():
            try:
                given = float(os.environ[variable])
            except ValueError:
                text = os.environ[variable]
                raise BadInput(
                    f"${variable} is {text!r}, but must be dollars, such as 50"
                ) from None
        if given is not None:
            limits = replace(limits, **{name: given})  # type: ignore[arg-type]  # it is checked
    return limits


def with_sessions(limits: "Limits", places: Sequence["Provider"], had: int = 0) -> "Limits":
    """With the providers' own limit of machines in a row, where the user has set none.

    had: machines that the run has had already.
    """
    from dataclasses import replace

    most = min((place.caps.max_sessions for place in places if place.caps.max_sessions), default=0)
    return limits if limits.max_attempts or not most else replace(limits, max_attempts=had + most)


def keys_of(role: str, static_keys: bool) -> "KeySource":
    """Where a machine's keys come from; BadInput for what is no role's ARN."""
    from launch.payload.credentials import of_role
    from mimir.runs.order import KeySource

    if role:
        of_role(role)  # refused before anything is begun
    return KeySource(role, static_keys)


def hosts_of(
    kind: str, region: str, reliability: float | None, download: float | None, upload: float | None
) -> dict[str, object]:
    """What was said of the hosts, as fields of Hosts; None and "" were not said.

    BadInput for what they cannot be.
    """
    from launch.contract import regions
    from mimir.runs.hosts import Hosts

    said: dict[str, object] = {"kind": kind} if kind else {}
    if region:
        said["regions"] = regions.words_of(region)
    for name, value in (("reliability", reliability), ("download", download), ("upload", upload)):
        if value is not None:
            said[name] = value
    Hosts(**said)  # type: ignore[arg-type]  # refused before anybody is asked
    return said


def card_of(device: object, places: Sequence["Provider"]) -> tuple[str, int | None]:
    """A device and which card of it: ("cuda", 1) of "cuda:1"; without a number, None.

    BadInput if a place is not this computer, or for what is no number of a card.
    """
    from mimir.runs import cards

    name, card = cards.split(device)
    if card is None:
        return name, None
    for place in places:
        if not place.caps.cards:
            raise BadInput(
                f"--device {device} means a card of this computer, and a machine of {place.name} "
                "has only one: leave the number out"
            )
    return name, card


def gpus_of(words: str) -> tuple[str, ...]:
    """GPU names as pricing/gpus.py has them; BadInput, with the nearest, for an unknown one.

    "cpu" by itself is a machine without one, as Colab has them.
    """
    from launch.pricing import gpus

    return (NO_GPU,) if words.strip().lower() == NO_GPU else gpus.matching(words)


def check_free(store: "Store", name: str, store_option: str) -> "Status":
    """The run's status, if a new attempt takes nothing away from anybody."""
    from launch.supervise import diagnosis
    from launch.ui.runs import command
    from launch.ui.terminal import say
    from mimir.runs.status import derive

    status = derive(store, name, store.now())
    check_not_done(status, store_option)
    order = status.attempts[-1].order if status.attempts else None
    sign = diagnosis.busy(diagnosis.look(store, status, order, say=say))
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
    from mimir.runs.head import REMOVED
    from mimir.runs.origin import longer

    if status.state == REMOVED:
        rm = command("rm", status.run, store_option)
        raise BadInput(f"run {status.run} is being removed: finish that by `{rm}`")
    if status.state == "done":
        pull = command("pull", status.run, store_option)
        raise BadInput(
            f"run {status.run} is done: fetch its model by `{pull}`, or "
            f"{longer(status.run, store_option)}"
        )


def check_settings(settings: Mapping[str, object], command: Callable[..., Any]) -> None:
    """BadInput for a name that is neither a preset's setting nor an option of the command.

    prepare() refuses such settings too, but it does not know the command's options.
    """
    from launch.contract import one_gpu
    from mimir.config import SETTINGS

    own = [n for n, p in inspect.signature(command).parameters.items() if p.kind != p.VAR_KEYWORD]
    for name, value in settings.items():
        if name in one_gpu.WORDS:
            one_gpu.only(value if isinstance(value, int) else 2, as_option(name))
        if name not in SETTINGS:
            known = [word.replace("_", "-") for word in (*own, *SETTINGS)]
            shown = name.replace("_", "-")
            raise BadInput(f"there is no option or setting --{shown}{nearest(shown, known, '--')}")


def check_name(
    store: "Store", name: str, job: "Job", start: "Start | None", settings: Collection[str],
    store_option: str,
) -> "Entry":  # fmt: skip
    """Refuse, before any offer is asked for and any plan is shown, a name under which the run would
    not be entered or begun; as `submission.check_enterable`."""
    from mimir.runs import layout
    from mimir.submission import check_enterable

    entry = check_enterable(store, name, job, start, settings)
    if entry.known and store.read(layout.head_key(name)):
        check_free(store, name, store_option)
    return entry


def check_words(preset: str, data: str, name: str) -> None:
    """What is wrong with the words themselves, before a store, a service or torch is asked for."""
    from mimir.config import load_preset
    from mimir.data.opened import data_file
    from mimir.runs import layout

    if preset:
        load_preset(preset)
    data_file(data)
    if name:
        layout.check_run(name)


def check_works(places: Sequence["Provider"]) -> None:
    """BadInput if this computer is named and could not train, before anything is made."""
    from launch.contract.provider import OnThisComputer

    for place in places:
        if isinstance(place, OnThisComputer):
            place.must_work()


def check_fits(places: Sequence["Provider"], config: "Config", plan: "Plan", run: str = "") -> None:
    """BadInput if this computer is named and could not begin to train with these settings.

    run: name of the run that exists with them, "" for one that does not exist yet.
    """
    from launch.contract.provider import TrainsHere
    from mimir.checks.settings_fit import refused

    for place in places:
        for why in place.refusals([config], plan.card) if isinstance(place, TrainsHere) else ():
            if why:
                raise refused(why, run)


def check_gpu(places: Sequence["Provider"], gpu: Sequence[str]) -> None:
    """BadInput if a GPU to rent is named for a place that rents none."""
    for place in places:
        if gpu and place.caps.cards:
            raise BadInput(
                f"--gpu names a GPU to rent, and provider {place.name} trains on this computer's "
                "own: leave it out, or name one of several cards by --device cuda:1"
            )


def check_image(places: Sequence["Provider"], image: str) -> str:
    """The image as these places find it; BadInput if one of them does not start it."""
    from launch.contract.provider import ImageFiles

    for place in places:
        if image and not place.caps.image:
            raise BadInput(
                f"provider {place.name} starts no container, so that --image means nothing to it: "
                "leave it out, or train by --provider docker"
            )
        if image and isinstance(place, ImageFiles):
            return place.image_file(image)  # it stands alone
    return image


def settled(
    places: Sequence["Provider"], words: str, before: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The options of the provider that takes some, from --slurm and its other sources.

    before: those of the run's last order. BadInput if none of the providers takes any, or if one
    that queues is named beside another: its jobs go on by themselves, and nobody fails over.
    """
    from launch.contract.provider import TakesOptions

    queueing = [place.name for place in places if place.caps.queues]
    if queueing and len(places) > 1:
        raise BadInput(f"--provider {queueing[0]} stands alone: its jobs go on by themselves")
    taking = [place for place in places if isinstance(place, TakesOptions)]
    if words and not taking:
        raise BadInput("--slurm is for --provider slurm: leave it out")
    return taking[0].settle(words, before) if taking else ()


def check_keys(places: Sequence["Provider"], keys: "KeySource") -> None:
    for place in places:
        if place.caps.queues and (keys.role or keys.static):
            raise BadInput(
                f"a job of {place.name} gets no keys: it may wait longer than they live, and uses "
                "the configuration of its account; leave --role and --static-keys out"
            )


def check_notify(places: Sequence["Provider"], from_machine: bool) -> None:
    for place in places:
        if place.caps.queues and from_machine:
            raise BadInput(
                f"a job of {place.name} gets no webhook's URL, because what it is given lies in "
                "its cluster's files: leave --notify-from-machine out, and say --watch with "
                "--notify"
            )


def check_store(places: Sequence["Provider"], url: str) -> None:
    for place in places:
        if place.caps.remote and not url.startswith("s3://"):
            raise BadInput(
                f"a machine of {place.name} cannot reach the store {url}: use a bucket that it "
                "can, --store 's3://BUCKET/PREFIX?endpoint=…' (docs/store.md)"
            )
