"""Each service's OpenAPI document, and where fake or adapter leave it and why."""

from collections.abc import Iterable

from tests.clouds import contract, discovery
from tests.clouds.server import Exchange

RUNPOD = (
    contract.NOT_THE_SERVICES_WORDS,
    (r"\(fault (unknown_status|torn_list)\)", "the fault is that the document is not kept to"),
    (r"^GET /v2/pods request \?cursor", "pages are newer than the document"),
    (r"'(entrypoint|cmd|minRamPerGpu|minVcpuCountPerGpu)'", "fields newer than the document"),
    (r"^POST /v2/pods 413 ", "a status newer than the document"),
)
VAST = (
    contract.NOT_THE_SERVICES_WORDS,
    (r"/logs/", "where logs lie is not this service"),
    (r"request \$\.env", "a string in the document; an object in the vendor's prose and client"),
    (r"\$\.instances: None", "the document's newer, generated form says null for what is gone"),
    (r"\$\.instances\.extra_env", "pairs in the list, texts in the look; the same things in truth"),
    (r"\$\.instances\.ports", "a list in the look, an object or null in the list"),
    (r"'insufficient_credit' is not one of", "seen by others; the document has no such refusal"),
    (r" 40[13] answer.* no such status", "the document leaves out refused keys here and there"),
    (r" 500 answer.* no such status", "no document says that it fails"),
    (r"GET /api/v0/instances: .* no such operation", "the old list; the document has left it out"),
    (r" 429 answer.* no such status", "only some operations have their limits written down"),
)
LAMBDA = (
    contract.NOT_THE_SERVICES_WORDS,
    (r" 429 answer", "limits stand in the document's prose only"),
    (r" 500 answer", "failures of the service are described nowhere"),
    (r"data\.status: 'hibernating'", "made up, as a later version of the service may"),
    (r"fault (unknown_after|null_list|nameless_row)", "what was seen of it, against its document"),
    (r"fault (forbidden|duplicate_key)", "a code of the document that lacks at this operation"),
    (r"terminate 400 .*global/(unknown|invalid)", "as above: ending it twice was seen to fail so"),
)
GCP = "status: 'HIBERNATING' is none of"
"""Made up, as a later version of the service may."""
ALL = {
    "runpod": ("runpod-v2.json", RUNPOD),
    "vastai": ("vast.yaml", VAST),
    "lambda": ("lambda-1.10.0.json", LAMBDA),
}


def violations(provider: str, exchanges: Iterable[Exchange]) -> list[str]:
    """What was exchanged against the service's document; [] where that is not at hand, or is what
    boto3 itself goes by."""
    if provider == "gcp":
        return [each for each in discovery.violations(exchanges) if GCP not in each]
    if provider not in ALL:
        return []
    name, exceptions = ALL[provider]
    path = contract.FOLDER / name
    return contract.check(path, exchanges, exceptions) if path.exists() else []
