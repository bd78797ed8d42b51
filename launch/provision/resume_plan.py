"""How a run goes on when a person says so: as last time, but for what they say anew."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from launch.providers import registry
from launch.provision import liveness
from mimir.runs.hosts import Hosts
from mimir.runs.order import KeySource, Limits, Plan
from mimir.runs.status import Status


@dataclass(frozen=True)
class Words:
    """What was said; "" and () for what was not. limits, hosts: only what of them was."""

    providers: str = ""
    gpus: tuple[str, ...] = ()
    spot: bool = False
    image: str = ""
    keys: KeySource = field(default_factory=KeySource)
    limits: Mapping[str, float] = field(default_factory=dict)
    hosts: Mapping[str, Any] = field(default_factory=dict)


def renewed(before: Plan | None, known: Status, words: Words) -> Plan:
    """The plan of the next attempt, from that of the last order (None if there was none).

    Where machines are somebody else's, limits hold on: they count over all attempts of the run.
    Those of a run on one's own computer were for that attempt.

    Raises:
        BadInput: a provider is unknown, a limit is no number of its kind.
    """
    providers = _providers(before, known, words)
    limits = Limits()
    if before is not None and _rents(providers) and _rents(before.providers):
        limits = before.limits
    elif before is not None and _remote(providers) and _remote(before.providers):
        # Sessions in a row are allowed one by one; hours and dollars count over all of them.
        limits = replace(before.limits, max_attempts=0)
    return Plan(
        providers=providers,
        limits=replace(limits, **words.limits),  # type: ignore[arg-type]
        gpus=words.gpus or (before.gpus if before else ()),
        spot=words.spot or bool(before and before.spot),
        image=words.image or _image(before, known, providers),
        keys=words.keys if words.keys != KeySource() or before is None else before.keys,
        steps=before.steps if before else 0,
        card=before.card if before else None,
        options=before.options if before else (),
        hosts=replace(before.hosts if before else Hosts(), **words.hosts),
    )


def _providers(before: Plan | None, known: Status, words: Words) -> tuple[str, ...]:
    if words.providers:
        return registry.several(words.providers)
    if before is not None:
        return before.providers
    last = liveness.provider_of(liveness.current(known))
    return (last.name,) if last else ("local",)


def _image(before: Plan | None, known: Status, providers: tuple[str, ...]) -> str:
    """That of last time, if it is the same places that start it."""
    if before is not None:
        return before.image if before.providers == providers else ""
    last = liveness.current(known)
    same = last is not None and last.provider in providers and not _rents(providers)
    return last.image if last is not None and same else ""


def _rents(providers: tuple[str, ...]) -> bool:
    return any(registry.get(name).caps.paid for name in providers)


def _remote(providers: tuple[str, ...]) -> bool:
    return any(registry.get(name).caps.remote for name in providers)
