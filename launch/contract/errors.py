"""What a provider can answer. Each class names what the launcher does next.

    MimirError
    └── ProviderError          75  tell the user; resuming later may help
        ├── NoCapacity         75  take the next offer, or try again later
        │   ├── AccountLimit       the account's own limit: a smaller offer, or what the user raises
        │   └── Unclear            take the next offer; if all are refused so, `submit` ends with 78
        ├── AuthFailed         78  a key is missing, wrong or expired here: the user must act
        ├── BalanceEmpty       78  no money left: end, the user must act
        ├── Misconfigured      78  certificates or proxy are set wrongly here: the user must act
        ├── RateLimited        75  wait `retry_after` seconds, then ask again
        ├── UnknownOutcome     75  a machine may have been made: look for it before asking again
        ├── Leaked             75  refused, but a machine `id` is there: end it first
        └── NotGone            75  a machine may still run: say so, and try again to end it

The numbers are the exit codes of a command that ends with such an error.
"""

from collections.abc import Collection

from mimir.errors import BAD_CONFIG, INTERRUPTED, MimirError


class ProviderError(MimirError):
    """A provider did not do what was asked."""

    exit_code = INTERRUPTED


class NoCapacity(ProviderError):
    """No such machine is available now. places: where the service says that there are some of the
    same size, as Offer.place."""

    def __init__(self, message: str, places: Collection[str] = ()) -> None:
        super().__init__(message)
        self.places = frozenset(places)


class AccountLimit(NoCapacity):
    """The account's quota or its limit of spending is reached: machines may be there."""


class Unclear(NoCapacity):
    """Refused in words that may mean a lack of machines, or a request that is wrong."""


class AuthFailed(ProviderError):
    """The provider does not accept who asks."""

    exit_code = BAD_CONFIG


class BalanceEmpty(ProviderError):
    """The provider wants money first."""

    exit_code = BAD_CONFIG


class Misconfigured(ProviderError):
    """This computer's certificates, proxy or addresses keep it from asking at all."""

    exit_code = BAD_CONFIG


class RateLimited(ProviderError):
    """Asked too often. retry_after: seconds to wait."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnknownOutcome(ProviderError):
    """The answer to an order was lost: the machine may or may not exist."""


class Leaked(ProviderError):
    """An order was refused, and yet there is an instance. id: its id."""

    def __init__(self, message: str, id: str) -> None:
        super().__init__(message)
        self.id = id


class NotGone(ProviderError):
    """A machine could not be shown to be gone; it may still run, and cost."""
