"""Every refusal of an order that Vast.ai is known to have written."""

from typing import Any

import pytest

from launch.contract.errors import (
    AuthFailed,
    BalanceEmpty,
    Leaked,
    NoCapacity,
    ProviderError,
    RateLimited,
    UnknownOutcome,
)
from launch.providers.vastai.adapter import Vast
from mimir.errors import BadInput
from tests.launch.providers.sentences import Said, raised
from tests.launch.providers.vastai.case import ON_DEMAND


def no(error: str, msg: str = "", **more: Any) -> dict[str, Any]:
    return {"success": False, "error": error, "msg": msg, **more}


SAID = [
    Said(404, no("no_such_ask", "error 404/3603: no_such_ask Instance type by id 7 is not "
                 "available."), NoCapacity, "Vast's documents; several clients"),
    Said(400, no("no_such_ask"), NoCapacity, "a client's tests, 2026"),
    Said(400, {"success": False, "msg": "no_such_ask"}, NoCapacity, "a client's tests, 2026"),
    Said(404, no("invalid_args", "error 404/3603: no_such_ask Instance type by id 7 is not "
                 "available."), NoCapacity, "dstack's Vast backend"),
    Said(410, no("no_such_ask", "error 410/3907: no_such_ask Instance type 7 is no longer "
                 "available."), NoCapacity, "Vast's documents, with cancel_unavail"),
    Said(400, no("invalid_price", "The bid is too low."), NoCapacity, "Vast's documents"),
    Said(400, no("", "this machine is already rented"), NoCapacity, "a client's markers, 2026"),
    Said(403, no("not_authorized", "This offer is not your own"), NoCapacity, "Vast's documents"),
    Said(400, no("invalid_price", "The bid is too low to start.", new_contract=7), Leaked,
         "dstackai/dstack#4036: the instance is there, stopped"),
    Said(200, no("invalid_price", "The bid is too low to start.", new_contract=7), Leaked,
         "as above, with a status of success"),
    Said(400, no("insufficient_credit", "error 400: Your account lacks credit."), BalanceEmpty,
         "several clients; the status is not told"),
    Said(402, no("insufficient_credit"), BalanceEmpty, "several clients; the status is not told"),
    Said(400, no("missing_billing", "add a card"), BalanceEmpty, "Vast's documents"),
    Said(401, no("auth_error", "Invalid user key"), AuthFailed, "Vast's documents"),
    Said(401, no("auth_error", "This action requires login."), AuthFailed, "Vast's documents"),
    Said(404, no("auth_error", "Invalid user key"), AuthFailed, "Vast's search, of a wrong key"),
    Said(403, no("not_authorized", "error 403: the key lacks instance_write"), AuthFailed,
         "Vast's documents"),
    Said(429, {"detail": "API requests too frequent endpoint threshold=4.5"}, RateLimited,
         "Vast's client"),
    Said(429, "API requests too frequent endpoint threshold=4.5", RateLimited, "the same, as text"),
    Said(429, no("search_quota_exceeded"), RateLimited, "Vast's client: full again at midnight"),
    Said(400, no("invalid_args", "error 400/3467: Invalid args: env is too long"), BadInput,
         "Vast's documents: x-input-validation, env of 256 characters"),
    Said(400, no("no_ssh_key_for_vm"), BadInput, "Vast's documents"),
    Said(400, no("label_too_long"), BadInput, "Vast's documents"),
    Said(413, "Request Entity Too Large", BadInput, "what stands in front of services says"),
    Said(200, no("unknown"), ProviderError, "Vast's client looks at success"),
    Said(403, "error code: 1015", RateLimited, "Cloudflare's code for too many requests"),
    Said(500, no("server_error", "try again later"), UnknownOutcome, "Vast's documents"),
    Said(200, "<html>", UnknownOutcome, "what stands in front of services says"),
]  # fmt: skip


@pytest.mark.parametrize("said", SAID, ids=lambda said: f"{said.status}-{str(said.body)[:60]}")
def test_a_sentence_has_its_class(said: Said) -> None:
    kind, text = raised(
        lambda transport: Vast(environ={"VAST_API_KEY": "k"}, transport=transport), ON_DEMAND, said
    )
    assert kind is said.kind, text
    assert said.where
