"""A store whose user is killed at a chosen moment: before or after one of its requests."""

from collections.abc import Callable
from typing import Any

from tests.runs.actors import Killed
from tests.runs.memory import MemoryStore

REQUESTS = (
    "read", "put_if_absent", "compare_and_swap", "put_content", "put", "get", "list", "folders",
    "delete",
)  # fmt: skip


class Mortal:
    """Passes requests on. moment: 2n kills before request n, counted from 0, 2n + 1 after it;
    None never. moments: how many there were."""

    def __init__(self, store: MemoryStore, moment: int | None = None) -> None:
        self.moments = 0
        self._store, self._moment = store, moment

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in REQUESTS:
            return found

        def request(*words: Any, **options: Any) -> Any:
            self._pass()
            answer = found(*words, **options)
            self._pass()
            return answer

        return request

    def _pass(self) -> None:
        # Whoever was killed sends nothing more, also from other threads and handlers of errors.
        if self._moment is not None and self.moments >= self._moment:
            raise Killed
        self.moments += 1


class Overtaken:
    """Passes requests on; before request `moment`, counted from 0, `by` does what others do.

    never: a request before which nobody comes, but before the next one. moments: requests so far.
    """

    def __init__(
        self, store: MemoryStore, moment: int | None, by: Callable[[], object], never: str = ""
    ) -> None:
        self.moments = 0
        self._store, self._moment, self._by, self._never = store, moment, by, never

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in REQUESTS:
            return found

        def request(*words: Any, **options: Any) -> Any:
            if self._moment is not None and self.moments >= self._moment and name != self._never:
                self._moment = None
                self._by()
            self.moments += 1
            return found(*words, **options)

        return request
