"""Whether an image could be pulled, in the words of container engines and registries."""

import re
from collections.abc import Iterable

FAILED = re.compile(
    r"pull access denied|manifest( for \S+)? (unknown|not found)|no matching manifest"
    r"|toomanyrequests|pull rate limit|(error|failed)( while| when|:)? pull(ing)?( image)?\b"
    r"|failed to pull|repository does not exist|invalid reference format"
    r"|requested access to the resource is denied|unauthorized: (authentication|incorrect)",
    re.IGNORECASE,
)
"""As Docker, containerd and Docker Hub write it; toomanyrequests is Docker Hub's limit of pulls
without an account, which all who share an address use up together."""
OFTEN = re.compile(r"toomanyrequests|pull rate limit", re.IGNORECASE)
SYSTEM = "system: "
"""What stands before a line that is the service's own, and not the container's."""


def failure(lines: Iterable[str]) -> str:
    """The last of the service's own lines if it says that the image cannot be pulled, else ""."""
    own = [line.removeprefix(SYSTEM) for line in lines if line.startswith(SYSTEM)]
    return own[-1] if own and FAILED.search(own[-1]) else ""


def advice(text: str) -> str:
    """What a person may do about a failed pull, "" where nothing special is known."""
    if OFTEN.search(text):
        return "Docker Hub's limit of pulls without a login: set $MIMIR_REGISTRY_USER"
    return ""
