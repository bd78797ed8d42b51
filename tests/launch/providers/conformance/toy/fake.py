"""A toy service: boxes by number, a list of two a page, keys in a header. Nothing runs there."""

from typing import Any

from tests.clouds.service import COMMON_FAULTS, Answer, Rental, Request, Service

PAGE = 2


class FakeToy(Service):
    FAULTS = (*COMMON_FAULTS, ("sold_out", "409"), ("poor", "402"), ("kept", "end: not done"))

    def refusal(self, status: int, text: str) -> Answer:
        return Answer(status, {"why": text})

    def handle(self, request: Request) -> Answer:
        if request.token != self.token:
            return self.refusal(401, "who are you?")
        if request.path == "/offers":
            return Answer(200, {"offers": [{"gpu": "T4", "memory": 16.0, "price": 0.2}]})
        if request.path == "/boxes":
            return self._order(request) if request.method == "POST" else self._list(request)
        id = request.path.removeprefix("/boxes/").removesuffix("/log")
        found = next((each for each in self.alive() if each.id == id), None)
        if found is None:
            return self.refusal(404, "no such box")
        if request.method == "DELETE":
            if self.take("kept", request) is None:
                self.end(id)
            return Answer(200, {})
        if request.path.endswith("/log"):
            return Answer(200, {"lines": self.machines[id].output()})
        return Answer(200, _row(found))

    def _order(self, request: Request) -> Answer:
        if self.take("sold_out", request) is not None:
            return self.refusal(409, "sold out")
        if self.take("poor", request) is not None:
            return self.refusal(402, "pay first")
        made = Rental(f"b{len(self.ledger)}", request.body["name"], 0.2, self.clock.time())
        made.shown["state"] = "on"
        self.ledger.append(made)
        self.boot(made, [], {})
        return Answer(200, {"id": made.id})

    def _list(self, request: Request) -> Answer:
        at = int(request.query.get("from", 0))
        rows = [_row(each) for each in self.alive()]
        more = at + PAGE if at + PAGE < len(rows) else None
        return Answer(200, {"boxes": rows[at : at + PAGE], "next": more})


def _row(box: Rental) -> dict[str, Any]:
    return {"id": box.id, "name": box.name, "state": box.shown["state"], "price": box.price}
