"""A store whose user is killed at a chosen moment: before or after one of its requests."""

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
