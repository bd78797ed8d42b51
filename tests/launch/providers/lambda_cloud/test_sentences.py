"""Every refusal of a launch that Lambda is known to have written."""

from pathlib import Path
from typing import Any

import pytest

from launch.contract.errors import (
    AccountLimit,
    AuthFailed,
    BalanceEmpty,
    NoCapacity,
    ProviderError,
    RateLimited,
    UnknownOutcome,
)
from launch.providers.lambda_cloud.adapter import Lambda
from mimir.errors import BadInput
from tests.launch.providers.lambda_cloud.case import OFFER
from tests.launch.providers.sentences import Said, raised


def no(code: str, message: str, suggestion: str = "") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "suggestion": suggestion}}


DOCUMENT = "Lambda's OpenAPI document, 1.10"
SAID = [
    Said(400, no("instance-operations/launch/insufficient-capacity",
                 "Not enough capacity to fulfill launch request.",
                 "Choose an instance type with more availability, or try again later."),
         NoCapacity, f"{DOCUMENT}; many users"),
    Said(400, no("instance-operations/launch/insufficient-capacity",
                 "Insufficient capacity. Requested 5, available 2."), NoCapacity, "a client, 2026"),
    Said(400, no("global/quota-exceeded", "Quota exceeded.", "Contact Support for more."),
         AccountLimit, DOCUMENT),
    Said(400, no("global/invalid-parameters", "Requested too many instances."), BadInput,
         "skypilot-org/skypilot#7084: a quantity above 1"),
    Said(400, no("global/invalid-parameters", "quantity: Input should be less than or equal to 1"),
         BadInput, "skypilot-org/skypilot#3865"),
    Said(400, no("global/object-does-not-exist", "Specified SSH key does not exist."), BadInput,
         DOCUMENT),
    Said(404, no("global/object-does-not-exist", "Specified image does not exist."), BadInput,
         DOCUMENT),
    Said(400, no("instance-operations/launch/file-system-in-wrong-region", "Wrong region."),
         BadInput, DOCUMENT),
    Said(400, no("instance-operations/launch/file-systems-not-supported", "Not here."), BadInput,
         "an older document's code"),
    Said(401, no("global/invalid-api-key", "API key was invalid, expired, or deleted."),
         AuthFailed, DOCUMENT),
    Said(403, no("global/forbidden", "Your role does not allow this."), AuthFailed, DOCUMENT),
    Said(403, no("global/account-inactive", "Your account is inactive."), BalanceEmpty, DOCUMENT),
    Said(400, no("global/invalid-address", "Your billing address is invalid."), BalanceEmpty,
         DOCUMENT),
    Said(413, "Request Entity Too Large", BadInput, "what stands in front of services says"),
    Said(429, "Too Many Requests", RateLimited, "described in prose only"),
    Said(403, "error code: 1015", RateLimited, "a Lambda client's tests, 2026"),
    Said(403, "error code: 1010", ProviderError, "clients without a User-Agent of their own"),
    Said(400, no("global/unknown", "An unknown error occurred."), UnknownOutcome,
         "an older document"),
    Said(400, no("provider/unavailable", "…"), UnknownOutcome, "an older document"),
    Said(500, no("global/internal-error", "An internal server error occurred."), UnknownOutcome,
         DOCUMENT),
    Said(200, {"data": {"instance_ids": []}}, UnknownOutcome, "made up"),
]  # fmt: skip
KEYS = {"data": [{"name": "mimir", "public_key": "ssh-ed25519 AAAA"}]}


@pytest.mark.parametrize("said", SAID, ids=lambda said: f"{said.status}-{str(said.body)[:60]}")
def test_a_sentence_has_its_class(said: Said, tmp_path: Path) -> None:
    kind, text = raised(
        lambda transport: Lambda(
            environ={"LAMBDA_API_KEY": "k"}, transport=transport, folder=tmp_path,
            sleep=lambda s: None,
        ),
        OFFER, said, KEYS,
    )  # fmt: skip
    assert kind is said.kind, text
    assert said.where
