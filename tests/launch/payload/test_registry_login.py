"""A registry's login goes to the image's registry alone, whole or not at all."""

import pytest

from launch.contract.cloud import Login
from launch.payload import registry_login
from mimir.errors import BadInput

BOTH = {"MIMIR_REGISTRY_USER": "me", "MIMIR_REGISTRY_PASSWORD": "pass-word-of-mine"}
LOGIN = Login("docker.io", "me", "pass-word-of-mine")
GHCR = {**BOTH, "MIMIR_REGISTRY": "ghcr.io"}


@pytest.mark.parametrize(
    ("image", "environ", "login"),
    [
        ("org/image:tag", BOTH, LOGIN), ("image", BOTH, LOGIN), ("docker.io/image", BOTH, LOGIN),
        ("org/image", {}, None), ("ghcr.io/org/image", BOTH, None), ("org/image", GHCR, None),
        ("ghcr.io/org/image", GHCR, Login("ghcr.io", "me", "pass-word-of-mine")),
        ("localhost/image", BOTH, None), ("host:5000/image", BOTH, None),
    ],
)  # fmt: skip
def test_whose_it_is(image: str, environ: dict[str, str], login: Login | None) -> None:
    assert registry_login.of(image, environ) == login
    assert "pass-word" not in repr(login)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"MIMIR_REGISTRY_USER": ""}, "USER is missing"),
     ({"MIMIR_REGISTRY_PASSWORD": ""}, "PASSWORD is missing"),
     ({"MIMIR_REGISTRY_PASSWORD": "pass-word\n"}, "PASSWORD holds"),
     ({"MIMIR_REGISTRY_USER": "me -p x"}, "USER holds")],
)  # fmt: skip
def test_half_a_login(change: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        registry_login.of("image", {**BOTH, **change})
    assert "pass-word" not in str(caught.value)
