"""Which sentences say that an image cannot be pulled."""

import pytest

from launch.contract import pull

FAILED = [
    "toomanyrequests: You have reached your unauthenticated pull rate limit. ",
    "You have reached your pull rate limit.",
    "Error response from daemon: pull access denied for image, repository does not exist or may "
    "require 'docker login': denied: requested access to the resource is denied",
    "manifest for org/image:tag not found: manifest unknown: manifest unknown",
    "no matching manifest for linux/amd64 in the manifest list entries",
    'Failed to pull image "org/image:tag": rpc error',
    "error pulling image: unauthorized: authentication required",
    "unauthorized: incorrect username or password",
    "invalid reference format: repository name must be lowercase",
]
FINE = [
    "create container: pulling image pytorch/pytorch:2.9.1", "Pull complete", "loading",
    "Status: Downloaded newer image", "worker: step 3", "error: out of memory",
]  # fmt: skip


@pytest.mark.parametrize("line", FAILED)
def test_a_pull_that_failed(line: str) -> None:
    assert pull.failure(["system: pulling", f"system: {line}"]) == line
    assert pull.failure([line]) == "", "a container may print anything"
    assert pull.failure([f"system: {line}", "system: Pull complete"]) == "", "it was tried again"


@pytest.mark.parametrize("line", FINE)
def test_what_is_no_failure(line: str) -> None:
    assert pull.failure([f"system: {line}"]) == ""


def test_what_a_person_may_do() -> None:
    assert "MIMIR_REGISTRY_USER" in pull.advice(FAILED[0])
    assert pull.advice(FAILED[3]) == ""
