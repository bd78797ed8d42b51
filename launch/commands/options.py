"""Options that several commands share, and the checks of what was given."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mimir.errors import BadInput
from mimir.text import nearest

if TYPE_CHECKING:
    from launch.contract.provider import Provider
    from mimir.runs.order import KeySource, Limits
    from mimir.runs.status import Status
    from mimir.runs.store import Store

NO_GPU = "cpu"
"""What a machine without a GPU is called."""


def limits_of(
    max_price: float, max_hours: float, max_cost: float, max_failures: int, max_sessions: int
) -> "Limits":
    from mimir.runs.order import Limits

    return Limits(max_price, max_hours, max_cost, max_failures, max_sessions)


def with_budgets(limits: "Limits", month: float, store: float) -> "Limits":
    """With the budgets of all runs: as said, else as they are, else as the environment has them.

    month, store: dollars; below 0 for what was not said.
    """
    import os
    from dataclasses import replace

    for name, said in (("max_cost_month", month), ("max_cost_store", store)):
        given: object = said if not (isinstance(said, int | float) and -1 <= said < 0) else None
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
    kind: str, region: str, reliability: float, download: float, upload: float
) -> dict[str, object]:
    """What was said of the hosts, as fields of Hosts; numbers below 0 and "" were not said.

    BadInput for what they cannot be.
    """
    from launch.contract import regions
    from mimir.runs.hosts import Hosts

    said: dict[str, object] = {"kind": str(kind)} if kind else {}
    if region:
        words = ",".join(map(str, region)) if isinstance(region, tuple) else str(region)
        said["regions"] = regions.words_of(words)
    for name, value in (("reliability", reliability), ("download", download), ("upload", upload)):
        if not (isinstance(value, int | float) and -1 <= value < 0):
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

    return (NO_GPU,) if str(words).strip().lower() == NO_GPU else gpus.matching(str(words))


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

    if status.state == REMOVED:
        rm = command("rm", status.run, store_option)
        raise BadInput(f"run {status.run} is being removed: finish that by `{rm}`")
    if status.state == "done":
        pull = command("pull", status.run, store_option)
        raise BadInput(
            f"run {status.run} is done: fetch its model by `{pull}`, or submit under another --name"
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
            one_gpu.only(value if isinstance(value, int) else 2, f"--{name.replace('_', '-')}")
        if name not in SETTINGS:
            known = [word.replace("_", "-") for word in (*own, *SETTINGS)]
            shown = name.replace("_", "-")
            raise BadInput(f"there is no option or setting --{shown}{nearest(shown, known, '--')}")


def check_name(store: "Store", name: str, places: Sequence["Provider"], store_option: str) -> None:
    """Refuse a name that cannot be used before any offer is asked for."""
    from mimir.runs import layout

    layout.check_run(name)
    if any(place.caps.paid for place in places) and store.read(layout.record_key(name)):
        check_free(store, name, store_option)


def check_works(places: Sequence["Provider"]) -> None:
    """BadInput if this computer is named and could not train, before anything is made."""
    from launch.contract.provider import OnThisComputer

    for place in places:
        if isinstance(place, OnThisComputer):
            place.must_work()


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
    return taking[0].settle(str(words), before) if taking else ()


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
