"""The common ground of the fakes: a loopback server with a clock, a ledger and faults.

A fake is faithful in what the launcher can see: the API, and that machines run what was
ordered, cost money until they are gone, and do not care what becomes of the launcher.
"""

import json
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.clouds.machines import Machine
from tests.clouds.server import HTML_403, Answer, Exchange, Hangup, Request, Server

__all__ = [
    "COMMON_FAULTS", "HTML_403", "Answer", "Exchange", "FakeClock", "Hangup", "Rental", "Request",
    "Service",
]  # fmt: skip


class FakeClock:
    """The real time, and what tests skip."""

    def __init__(self) -> None:
        self.offset = 0.0

    def time(self) -> float:
        return time.time() + self.offset

    def advance(self, seconds: float) -> None:
        self.offset += seconds


@dataclass
class Rental:
    """A machine that was rented once. price in $/h while it runs; seconds by the fake's clock.

    spans: [start, end or None, $/h], what is billed. shown: what the service shows of it.
    """

    id: str
    name: str
    price: float
    born: float
    spot: bool = False
    ended: float | None = None
    spans: list[list[Any]] = field(default_factory=list)
    shown: dict[str, Any] = field(default_factory=dict)

    def bill(self, price: float, now: float) -> None:
        """From now on it costs this."""
        if self.spans and self.spans[-1][1] is None:
            self.spans[-1][1] = now
        if self.ended is None:
            self.spans.append([now, None, price])

    def end(self, now: float) -> None:
        if self.ended is None:
            self.ended = now
            self.bill(0.0, now)

    def cost(self, now: float) -> float:
        """Dollars so far."""
        total: float = sum(
            ((now if end is None else end) - start) * price / 3600
            for start, end, price in self.spans
        )
        return total


COMMON_FAULTS = (
    ("hang_up", "the connection is closed, and nothing was done"),
    ("lost_after", "it is done, and the connection is closed without an answer"),
    ("error_after", "it is done, and the answer is 500"),
    ("error", "nothing is done, and the answer is 500"),
    ("html_403", "a web page refuses the request, as Cloudflare's does"),
    ("html_200", "a web page comes instead of JSON"),
    ("plain_404", "not found, in plain text, as by what stands in front of a service"),
    ("plain_429", "asked too often, in plain text"),
    ("quoted", "refused, with `text` in the reason and with `status`, else 400"),
    ("torn", "it is done, and the answer is cut in the middle"),
    ("slow", "the answer comes `seconds` late"),
)
"""Known to every fake. Details `method`, `path` (a regular expression that is searched for in the
path) and `query` (a parameter that is there) say which requests are meant; without them, any."""


class Service:
    """A fake of a service: `handle` answers requests; the rest is the same for all.

    token: the account key. runs: makes the argv that is really started of what was ordered,
    so that a test can do without training. requests: all exchanges, for tests/clouds/contract.py.
    """

    FAULTS: tuple[tuple[str, str], ...] = COMMON_FAULTS
    MISBEHAVIOURS: Mapping[str, tuple[tuple[str, dict[str, Any]], ...]] = {}
    """In a user's words -> the faults to arm, for tests that go through all of them."""
    restarts = False
    """Whether a container whose process exits is started again."""

    def __init__(self, token: str = "account-key") -> None:
        self.token = token
        self.clock = FakeClock()
        self.ledger: list[Rental] = []
        self.machines: dict[str, Machine] = {}
        self.requests: list[Exchange] = []
        self.runs: Callable[[Sequence[str], Mapping[str, str]], Sequence[str]] = lambda argv, _: (
            argv
        )
        self.lock = threading.RLock()
        self._armed: list[tuple[str, dict[str, Any]]] = []
        self._taken = threading.local()
        self._folder = Path(tempfile.mkdtemp(prefix="fake-cloud-"))
        self._server = Server(self.answer)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def handle(self, request: Request) -> Answer:
        """The service's own answer; called under `lock`."""
        raise NotImplementedError

    def alive(self) -> list[Rental]:
        """The rentals that exist, working or not."""
        with self.lock:
            return [rental for rental in self.ledger if rental.ended is None]

    def spent(self) -> float:
        """Dollars, of all rentals."""
        with self.lock:
            return sum(rental.cost(self.clock.time()) for rental in self.ledger)

    def rental(self, id: str) -> Rental:
        return next(rental for rental in self.ledger if rental.id == id)

    def fault(self, name: str, times: int = 1, **details: Any) -> None:
        """Arm a misbehaviour for the next `times` requests that it fits."""
        assert name in dict(self.FAULTS), f"no such fault: {name}"
        with self.lock:
            self._armed += [(name, details)] * times

    def misbehave(self, words: str) -> None:
        """Arm what MISBEHAVIOURS says, once."""
        for name, details in self.MISBEHAVIOURS[words]:
            self.fault(name, **details)

    def armed(self) -> list[str]:
        """The faults that have not happened yet."""
        with self.lock:
            return [name for name, _ in self._armed]

    def disarm(self) -> None:
        """Forget the faults that have not happened yet."""
        with self.lock:
            self._armed.clear()

    def take(self, name: str, request: Request | None = None) -> dict[str, Any] | None:
        """The details of this fault if it is armed (for such a request); it is used up then."""
        assert name in dict(self.FAULTS), f"no such fault: {name}"
        with self.lock:
            for index, (armed, details) in enumerate(self._armed):
                if armed == name and _fits(details, request):
                    del self._armed[index]
                    self._taken.name = name
                    return details
        return None

    def boot(self, rental: Rental, argv: Sequence[str], env: Mapping[str, str]) -> Machine:
        """Start for real what was ordered."""
        folder = self._folder / rental.id
        machine = Machine(self.runs(argv, env), env, folder, restarts=self.restarts)
        self.machines[rental.id] = machine
        machine.start()
        return machine

    def kill(self, id: str) -> None:
        """The host dies: SIGKILL to all that runs there, and nothing is started again."""
        self.machines[id].stop()

    def crash(self, id: str) -> None:
        """The container is killed (for want of memory, say), and restarted if the service does."""
        self.machines[id].crash()

    def end(self, id: str) -> None:
        """The rental exists no more, nor does its machine; no error if it is over already."""
        with self.lock:
            self.rental(id).end(self.clock.time())
            machine = self.machines.get(id)
        if machine is not None:
            machine.destroy()

    def close(self) -> None:
        """End everything that runs, and forget it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for machine in self.machines.values():
            machine.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answer(self, request: Request) -> Answer:
        """The answer with the common faults in it, noted in `requests`."""
        self._taken.name = ""
        given: Answer | None = None
        with self.lock:  # who sees what a request has done also finds it in `requests`
            try:
                given = self._common(request)
            finally:
                self._note(request, given)
        slow = self.take("slow", request)
        if slow:
            time.sleep(slow["seconds"])
        return given

    def _common(self, request: Request) -> Answer:
        if self.take("hang_up", request) is not None:
            raise Hangup
        if self.take("error", request) is not None:
            return self.broken()
        if self.take("html_403", request) is not None:
            return HTML_403
        if self.take("html_200", request) is not None:
            return Answer(200, "<html><body>Welcome</body></html>", content_type="text/html")
        if self.take("plain_404", request) is not None:
            return Answer(404, "404 page not found", content_type="text/plain")
        if self.take("plain_429", request) is not None:
            return Answer(429, "Too Many Requests", content_type="text/plain")
        quoted = self.take("quoted", request)
        if quoted is not None:
            return self.refusal(quoted.get("status", 400), quoted["text"])
        given = self.handle(request)
        if self.take("lost_after", request) is not None:
            raise Hangup
        if self.take("torn", request) is not None:
            whole = json.dumps(given.body)
            return replace(given, body=whole[: len(whole) // 2])
        if self.take("error_after", request) is not None:
            return self.broken()
        return given

    def broken(self) -> Answer:
        """The service's 500."""
        return Answer(500, {"error": "internal server error"})

    def refusal(self, status: int, text: str) -> Answer:
        """A refusal for this reason, as the service writes one."""
        return Answer(status, {"error": text})

    def _note(self, request: Request, given: Answer | None) -> None:
        self.requests.append(
            Exchange(
                request.method, request.path, dict(request.query), request.body,
                given.status if given else None, given.body if given else None,
                given.content_type if given else "", self._taken.name,
            )
        )  # fmt: skip


def _fits(details: Mapping[str, Any], request: Request | None) -> bool:
    if request is None:
        return True
    method, query = details.get("method", request.method), details.get("query")
    return (
        method == request.method
        and bool(re.search(details.get("path", ""), request.path))
        and (query is None or query in request.query)
    )
