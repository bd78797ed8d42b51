"""The offers of one order that were refused, and what that says of the others."""

from launch.contract.errors import AccountLimit, NoCapacity, Unclear
from launch.contract.offer import Offer

ENOUGH = 2
"""Limits of the account after which no more is asked of one GPU in a region, where it is not told
how large its machines are."""


class Refusals:
    """What services answered to the tries of one order."""

    def __init__(self) -> None:
        self._errors: list[NoCapacity] = []
        self._limits: dict[tuple[str, ...], list[Offer]] = {}
        self._last: Offer | None = None

    def add(self, provider: str, offer: Offer | None, error: NoCapacity) -> None:
        """A try was refused."""
        self._errors.append(error)
        self._last = offer
        if isinstance(error, AccountLimit) and offer is not None:
            self._limits.setdefault(_limit(provider, offer), []).append(offer)

    def bar(self, provider: str, offer: Offer | None) -> bool:
        """Whether a limit of the account has refused as much already: the answer would be the
        same, and the tries are few."""
        if offer is None:
            return False
        had = self._limits.get(_limit(provider, offer), [])
        unknown = [each for each in had if not (each.vcpus and offer.vcpus)]
        return len(unknown) >= ENOUGH or any(_as_large(offer, each) for each in had)

    def told_of_room(self, offer: Offer | None) -> bool:
        """Whether it is of the size refused last, in a place that this refusal says has room."""
        had = self._last
        if offer is None or had is None or offer.place not in self._errors[-1].places - {had.place}:
            return False
        alike = ("provider", "gpu", "size", "spot")
        return all(getattr(offer, name) == getattr(had, name) for name in alike)

    def all_together(self) -> NoCapacity:
        """The error that all are; a limit of the account is what a user can mend."""
        own = [each for each in self._errors if isinstance(each, AccountLimit)]
        last = (own or self._errors)[-1]
        if all(isinstance(each, Unclear) for each in self._errors):
            return Unclear(
                f"all of {len(self._errors)} orders were refused, in words that are not known to "
                "mean a lack of machines: the request itself may be wrong; the last answer: "
                f"{last}"
            )
        if len(self._errors) == 1:
            return last
        return NoCapacity(
            f"none of {len(self._errors)} offers was available; the last answer: {last}"
        )


def _limit(provider: str, offer: Offer) -> tuple[str, ...]:
    """What an account's limit is about: a GPU in a region, spot or not. A smaller machine with it
    may fit."""
    return provider, offer.region, offer.gpu, "spot" if offer.spot else ""


def _as_large(offer: Offer, refused: Offer) -> bool:
    """Whether it is of the refused size, or has as many processors; all have one GPU."""
    return offer.size == refused.size or 0 < refused.vcpus <= offer.vcpus
