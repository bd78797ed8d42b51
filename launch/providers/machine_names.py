"""By which name a service knows an attempt's machine: it tells run, attempt and store."""

from collections.abc import Callable

from launch.contract.cloud import machine_name, parse_name, shared_name
from launch.contract.provider import AttemptSpec
from mimir.runs import owner
from mimir.runs.store import Store


class MachineNames:
    """The names of the machines that are ordered from some stores.

    opener: opens the store of a spec. A store is asked for its id once.
    """

    def __init__(self, opener: Callable[[str], Store]) -> None:
        self._opener = opener
        self._owners: dict[str, str] = {}

    def to_order(self, spec: AttemptSpec, store: Store) -> str:
        """The name for a machine that is about to be ordered; the store has an id from now on."""
        self._owners[spec.store] = owner.identify(store)
        return self.of(spec)

    def of(self, spec: AttemptSpec) -> str:
        """The name of the attempt's machine; without an id if the store has ordered nothing."""
        known = self._owners.get(spec.store) or owner.read(self._opener(spec.store))
        if known:
            self._owners[spec.store] = known
        if spec.job:
            return shared_name(spec.job, known)
        return machine_name(spec.run, spec.attempt, known)


def are_same(shown: str, name: str) -> bool:
    """Whether the service shows the machine of this name. That of an older Mimir, which is on
    record by its id, has the same name without the store's."""
    place = parse_name(name)
    return shown == name or (place is not None and shown == machine_name(*place))
