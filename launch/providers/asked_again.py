"""Asks again for an order whose answer was lost, at services that know a request by its token."""

from collections.abc import Callable
from typing import TypeVar

from launch.contract.errors import ProviderError, UnknownOutcome
from mimir.errors import BadInput

PAUSES = (2.0, 5.0)
"""Seconds before each further try."""
T = TypeVar("T")


def asked_again(send: Callable[[], T], sleep: Callable[[float], None]) -> T:
    """What `send` returns; it is called again after an UnknownOutcome, with the same token.

    Raises:
        UnknownOutcome: no answer is certain. A refusal after a lost answer is none: the order
            before it may yet be carried out.
        ProviderError, BadInput: the first answer, a refusal.
    """
    lost: UnknownOutcome | None = None
    for pause in (0.0, *PAUSES):
        sleep(pause)
        try:
            return send()
        except UnknownOutcome as error:
            lost = error
        except (ProviderError, BadInput) as error:
            if lost is None:
                raise
            raise UnknownOutcome(f"{lost}; asked again: {error}") from error
    assert lost is not None
    raise lost
