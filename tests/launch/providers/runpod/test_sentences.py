"""Every refusal of an order that RunPod is known to have written."""

from typing import Any

import pytest

from launch.contract.errors import (
    AccountLimit,
    AuthFailed,
    BalanceEmpty,
    NoCapacity,
    ProviderError,
    RateLimited,
    Unclear,
    UnknownOutcome,
)
from launch.contract.offer import Offer
from launch.providers.runpod.adapter import RunPod
from mimir.errors import BadInput
from tests.launch.providers.sentences import Said, raised

KEY_OF_OFFER = {"gpu": "x", "cloud": "SECURE", "cuda": "12.8"}
OFFER = Offer("runpod", "4090/SECURE", "RTX 4090", 24.0, 0.5, key=KEY_OF_OFFER)


def v2(status: int, detail: str, **more: Any) -> dict[str, Any]:
    return {"title": "of the status", "status": status, "detail": detail, **more}


NONE = (
    "There are no longer any instances available with the requested specifications. "
    "Please refresh and try again."
)
RESOURCES = "This machine does not have the resources to deploy your pod"
SAID = [
    Said(400, v2(400, NONE), NoCapacity, "a recorded answer of v2, 2026"),
    Said(400, v2(400, "There are no longer any instances available with enough disk space."),
         NoCapacity, "ashleykleynhans/runpod-api, create_on_demand_pod.py"),
    Said(400, v2(400, "There are no instances currently available"), NoCapacity,
         "launchers' logs of 2026; v1 said it with 500"),
    Said(400, v2(400, f"create pod: {RESOURCES}. Please try a different machine"), NoCapacity,
         "a launcher's tests, 2026: half of its RTX 4090 orders in thin hours"),
    Said(400, v2(400, "this machine does not have the resources to deploy this pod"), NoCapacity,
         "TheLastBen/fast-stable-diffusion#2484, 2023"),
    Said(400, v2(400, "This machine does not have the resources; try a different machine"),
         NoCapacity, "a client's tests, 2026"),
    Said(400, v2(400, "Something went wrong. Please try again later or contact support."),
         NoCapacity, "a launcher that counts it among its lacks of machines, 2026"),
    Said(400, v2(400, "no free GPUs available"), NoCapacity, "a client's tests, 2026"),
    Said(400, v2(400, "Insufficient GPU capacity"), NoCapacity, "a client's tests, 2026"),
    Said(400, v2(400, "insufficient resources"), NoCapacity, "a launcher's markers, 2026"),
    Said(400, v2(400, "out of stock"), NoCapacity, "a launcher's markers, 2026"),
    Said(403, v2(403, "your account cannot access the requested pool"), NoCapacity,
         "RunPod's document of v2"),
    Said(400, v2(400, "Your account has reached its spend limit of $80/hr"), AccountLimit,
         "the limit: RunPod's documents; its words: a guess"),
    Said(400, v2(400, "You have exceeded your quota of pods"), AccountLimit, "a guess"),
    Said(402, v2(402, "insufficient balance"), BalanceEmpty, "prose of RunPod's document"),
    Said(400, v2(400, "You have insufficient funds to rent this pod"), BalanceEmpty, "a guess"),
    Said(400, v2(400, "Container Disk must be less than or equal to 20 GB for this instance"),
         Unclear, "a client's stand-in of RunPod, 2026"),
    Said(400, v2(400, "mounts.persistent is not possible here"), Unclear, "the document's rules"),
    Said(422, v2(422, "Request validation failed.", errors=["$.gpu: unknown"]), BadInput,
         "a recorded answer of v2, 2026"),
    Said(413, v2(413, "request is larger than 102400 bytes"), BadInput,
         "RunPod's document of 2026-11"),
    Said(413, "Request Entity Too Large", BadInput, "what stands in front of services says"),
    Said(404, v2(404, "registry not found"), BadInput, "RunPod's document of v2"),
    Said(401, v2(401, "missing bearer token"), AuthFailed, "RunPod's document of v2"),
    Said(403, v2(403, "access denied"), AuthFailed, "a pod's own key, 2026-09"),
    Said(429, v2(429, "rate limit exceeded for the minute window"), RateLimited, "2026"),
    Said(403, "error code: 1010", ProviderError, "clients without a User-Agent of their own"),
    Said(403, "error code: 1015", RateLimited, "Cloudflare's code for too many requests"),
    Said(410, v2(410, "this version is retired"), ProviderError, "dstackai/dstack#4167"),
    # 5xx may have made a machine, whatever they say: the list is asked, and then the next offer.
    Said(500, {"error": f"create pod: {RESOURCES}. Please try a different machine"},
         UnknownOutcome, "v1, several clients of 2026"),
    Said(500, {"error": "create pod: There are no instances currently available"},
         UnknownOutcome, "v1, several clients of 2026"),
    Said(503, v2(503, "Transient upstream failure"), UnknownOutcome, "RunPod's document of v2"),
]  # fmt: skip


@pytest.mark.parametrize("said", SAID, ids=lambda said: f"{said.status}-{str(said.body)[:60]}")
def test_a_sentence_has_its_class(said: Said) -> None:
    kind, text = raised(
        lambda transport: RunPod(environ={"RUNPOD_API_KEY": "k"}, transport=transport), OFFER, said
    )
    assert kind is said.kind, text
    assert said.where
