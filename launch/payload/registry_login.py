"""A login for the registry of a private image, from this computer's environment.

    MIMIR_REGISTRY_USER, MIMIR_REGISTRY_PASSWORD   the login (for Docker Hub: an access token)
    MIMIR_REGISTRY                                 the registry it is for, docker.io by default

It goes to the service with an order and to nowhere else: not into the store, not into a command's
arguments, not to another registry than the image's. The service forgets it with the machine.
"""

from collections.abc import Mapping

from launch.contract.cloud import Login
from mimir.errors import BadInput

USER, PASSWORD, PLACE = "MIMIR_REGISTRY_USER", "MIMIR_REGISTRY_PASSWORD", "MIMIR_REGISTRY"
DOCKER_HUB = "docker.io"


def of(image: str, environ: Mapping[str, str]) -> Login | None:
    """The login for this image, None where none is set for its registry.

    Raises:
        BadInput: half of one is set, or it holds what cannot be handed over.
    """
    user, password = environ.get(USER, ""), environ.get(PASSWORD, "")
    if not (user or password):
        return None
    if not (user and password):
        missing = PASSWORD if user else USER
        raise BadInput(f"${missing} is missing: a registry's login needs both, user and password")
    for name, value in ((USER, user), (PASSWORD, password)):
        if any(each.isspace() or not each.isprintable() for each in value):
            raise BadInput(f"${name} holds a space, a line's end or the like: copy it again")
    wanted = environ.get(PLACE) or DOCKER_HUB
    return Login(wanted, user, password) if registry(image) == wanted else None


def registry(image: str) -> str:
    """The registry in an image's name, by the rule of container engines: the part before the
    first slash if it looks like a host, else Docker Hub."""
    first, slash, _ = image.partition("/")
    host = slash and ("." in first or ":" in first or first == "localhost")
    return first if host else DOCKER_HUB
