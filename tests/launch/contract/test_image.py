"""What an image asks of a machine follows from its name; what is not known is said."""

import pytest

from launch.contract import image

BASE = "pytorch/pytorch:"


@pytest.mark.parametrize(
    ("name", "since", "cuda", "installs"),
    [
        (image.PUBLIC.name, (7, 0), 12.8, True),
        (BASE + "2.11.0-cuda12.8-cudnn9-runtime", (7, 5), 12.8, True),
        (BASE + "2.9.1-cuda12.6-cudnn9-devel", (5, 0), 12.6, False),
        ("docker.io/" + BASE + "2.9.1-cuda13.0-cudnn9-devel", (7, 5), 13.0, False),
        ("ghcr.io/me/mimir:0.1.0", (7, 5), 13.0, False),
        ("me/mimir@sha256:00", (7, 5), 13.0, False),
        ("mimir", (7, 5), 13.0, False),
    ],
)
def test_known_images(name: str, since: tuple[int, int], cuda: float, installs: bool) -> None:
    found = image.of(name)
    assert found == image.Image(name, since, cuda, installs=installs)
    assert found.note == ""


@pytest.mark.parametrize(
    "name", ["me/mimirs:1", "org/notmimir", BASE + "latest", BASE + "2.9.1-cpu", "x:1"]
)
def test_an_image_that_nothing_is_known_of(name: str) -> None:
    found = image.of(name)
    assert (found.since, found.cuda) == (image.PUBLIC.since, image.PUBLIC.cuda)
    assert not found.compiles
    assert f"nothing is known of the image {name}" in found.note


def test_the_public_image_is_known_by_its_own_name() -> None:
    assert image.of(image.PUBLIC.name) == image.PUBLIC


def test_the_named_image_goes_before_the_variable_and_the_public_one() -> None:
    assert image.wanted("a/mimir:1", {"MIMIR_IMAGE": "b:1"}).name == "a/mimir:1"
    assert image.wanted("", {"MIMIR_IMAGE": "b:1"}).name == "b:1"
    assert image.wanted("", {}) == image.PUBLIC
