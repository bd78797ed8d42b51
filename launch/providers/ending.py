"""Ends a rented machine: asked for until its service says that there is none.

A machine has ended when the service says so, not when it has taken the order to end it.
"""

import contextlib
from collections.abc import Callable

from launch.contract.cloud import Cloud, Instance, State
from launch.contract.errors import AuthFailed, NotGone, ProviderError, RateLimited
from launch.contract.redaction import Secrets
from launch.providers.machine_names import are_same
from launch.providers.readable import readable
from mimir.errors import MimirError

GONE_WITHIN = 180.0
"""Seconds in which a machine that was ended must have gone."""


class Misnamed(NotGone):
    """The machine on record is another one by its service's name."""


class Ending:
    """Ends machines of a service. clock, sleep: in seconds."""

    def __init__(
        self, cloud: Cloud, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._cloud, self._clock, self._sleep = cloud, clock, sleep
        self._secrets: Secrets = cloud.secrets

    def end(self, number: str, name: str, unknown: Callable[[], bool] = lambda: False) -> None:
        """End the machine with this id, and what the service keeps beside it.

        name: that the service must know it by, "" for one that was made just now. unknown: whether
        it may be there though the service does not know its id yet; it is waited for then.

        Raises:
            Misnamed: it knows it by another one; nothing was ended.
            AuthFailed, NotGone: it may still run and cost.
        """
        with self._secrets.guard():
            self._end_within(GONE_WITHIN, number, name, unknown)
        if name:
            self.forget(name)

    def forget(self, name: str) -> None:
        """As Cloud.forget. What is left after an error is no machine, and costs nothing."""
        with contextlib.suppress(MimirError), self._secrets.guard(), readable(self._cloud.name):
            self._cloud.forget(name)

    def _end_within(
        self, seconds: float, number: str, name: str, unknown: Callable[[], bool]
    ) -> None:
        until = self._clock() + seconds
        pause, last = 1.0, "no answer yet"
        seen, asked = not name, False
        while True:
            try:
                if not seen:
                    if not self._is_known(name, number) and unknown():
                        raise ProviderError("its service does not know it yet")
                    seen = True
                asked = True
                with readable(self._cloud.name):
                    self._cloud.terminate(number)
            except Misnamed:
                raise
            except RateLimited as error:
                pause, last = max(pause, error.retry_after), str(error)
            except AuthFailed as error:  # no waiting gives a key
                raise AuthFailed(
                    f"machine {name} ({self._cloud.name} {number}) may still run, and cost: {error}"
                ) from error
            except MimirError as error:
                last = str(error)  # a 5xx may have ended it: the look tells
            try:
                found = self._get(number)
                if found is not None and found.state is not State.GONE:
                    last = f"it says {found.said or found.state}"
                elif asked:  # what was never asked to end may only not be shown yet
                    return
            except RateLimited as error:
                pause, last = max(pause, error.retry_after), str(error)
            except MimirError as error:
                last = str(error)
            if self._clock() >= until:
                raise NotGone(
                    f"machine {name or 'made just now'} ({self._cloud.name} {number}) cannot be "
                    f"shown to be gone ({last}): it may still cost money; try again, or end it in "
                    "the service's console"
                )
            self._sleep(min(pause, 30.0))
            pause = min(2 * pause, 20.0)

    def _get(self, number: str) -> Instance | None:
        with readable(self._cloud.name):
            return self._cloud.get(number)

    def _is_known(self, name: str, number: str) -> bool:
        """Whether the service knows the machine.

        Misnamed if it knows it by another name: a store may say any id.
        """
        found = self._get(number)
        if found is None or found.state is State.GONE or are_same(found.name, name):
            return found is not None
        rate = f"${found.price:.3f}/h" if found.price is not None else "money"
        raise Misnamed(
            f"machine {number} of {self._cloud.name} is named {found.name!r}, and not {name}: it "
            f"is not ended, and costs {rate}; if it is this run's, end it by `python -m launch "
            f"reap --provider {self._cloud.name} --machine {number}`"
        )
