"""What services were seen to say, and whether an adapter raises what the launcher must do then.

Each adapter's test_sentences.py holds a table of what public records show: of its documents, of
clients, of what users report. `where` says where a sentence was seen; none of them was heard by us.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from launch.contract.cloud import Cloud, ContainerSpec
from launch.contract.offer import Offer
from mimir.errors import MimirError

NAME = "mimir-run-a0001"
ORDER = ContainerSpec("image:tag", ("sleep", "60"), {})


@dataclass(frozen=True)
class Said:
    """An answer to an order. body: JSON, or a text that is none."""

    status: int
    body: Any
    kind: type[MimirError]
    where: str


def raised(
    make: Callable[[httpx.BaseTransport], Cloud],
    offer: Offer,
    said: Said,
    reads: Mapping[str, Any] | None = None,
) -> tuple[type[Exception], str]:
    """The error's class and text when the order is answered so. reads: what a GET finds."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=reads)
        if isinstance(said.body, str):
            return httpx.Response(said.status, text=said.body)
        return httpx.Response(said.status, content=json.dumps(said.body).encode())

    try:
        make(httpx.MockTransport(answer)).create(offer, ORDER, NAME)
    except MimirError as error:
        return type(error), str(error)
    raise AssertionError(f"it was taken for a success: {said}")
