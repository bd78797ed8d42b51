"""Begins the next runs of a store's sweeps for a watcher, when the sweep's own command has ended.

It does what that command would: under the same start, the same plan and the same limits, which
stand in the sweep's state. A run is begun by an order that one launcher alone can create, so a
command and any number of watchers begin none twice. Left to the command are sweeps of which runs
train on the computer of a person, and what failed or was stopped (`sweep --resume`).
"""

import time
from collections.abc import Callable

from launch.providers import registry
from launch.provision import kept_plan
from launch.supervise.watcher import Watcher
from launch.sweep.keep import Keeper
from mimir.errors import MimirError, StoreDenied, StoreError, StoreUnfit
from mimir.runs import sweep as lists
from mimir.runs import sweep_state
from mimir.runs.orders import newest_order
from mimir.runs.store import Store


class BeginNext:
    """Args:
    supervisor: looks after runs that have begun.
    clock: seconds that go on whatever the time is set to.
    """

    def __init__(
        self, store: Store, say: Callable[[str], None], supervisor: Watcher,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._store, self._say, self._watcher, self._clock = store, say, supervisor, clock
        self._keepers: dict[tuple[str, int], Keeper | None] = {}

    def round(self) -> tuple[list[str], list[str]]:
        """Look at each sweep once: those of which runs have not begun, those that could not be
        looked at or need a person.

        Raises:
            StoreDenied, StoreUnfit: nothing of the store can be read.
        """
        left: list[str] = []
        failed: list[str] = []
        try:
            names = lists.names(self._store)
        except (StoreDenied, StoreUnfit):
            raise
        except StoreError as error:
            self._say(f"the sweeps could not be listed: {error}")
            return left, ["all"]
        for name in names:
            try:
                if self._begin(name):
                    left.append(name)
            except (StoreDenied, StoreUnfit):
                raise
            except MimirError as error:  # the others are looked after all the same
                self._say(f"sweep {name}: {error}")
                failed.append(name)
        return left, failed

    def _begin(self, name: str) -> bool:
        """Begin what may be begun of the sweep; whether some of its runs have not begun."""
        state = sweep_state.read(self._store, name)
        if state.terms is None:  # it was stopped, or is not begun
            return False
        if (name, state.number) not in self._keepers:
            self._keepers[name, state.number] = self._keeper(name, state.number, state.terms)
        keeper = self._keepers[name, state.number]
        if keeper is None:
            return False
        seen = keeper.round()
        if not seen.waiting and not seen.why:
            self._keepers[name, state.number] = None
        return bool(seen.waiting)

    def _keeper(self, name: str, number: int, terms: sweep_state.Terms) -> Keeper | None:
        """None if nothing of the sweep is left to begin from here."""
        sweep = lists.read(self._store, name)
        places = [registry.get(each) for each in terms.plan.providers]
        if not all(place.caps.remote for place in places):
            return None
        # They are begun in the order of the list.
        if newest_order(self._store, sweep.members[-1].run):
            return None
        doubt = kept_plan.doubt(self._store.url, sweep.members[0].run, terms.plan)
        if doubt:
            self._say(f"sweep {name}: its next runs are not begun from here, because {doubt}")
            return None
        return Keeper(
            self._store, sweep, terms.plan, at_once=terms.at_once, max_cost=terms.max_cost,
            number=number, say=self._say, supervisor=self._watcher, clock=self._clock,
            gives_up=False, per_job=terms.per_job,
        )  # fmt: skip
