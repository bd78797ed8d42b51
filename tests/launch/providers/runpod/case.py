"""What the tests of RunPod's adapter share: an adapter of a fake, and a pod of it."""

from typing import Any

from launch.contract.cloud import ContainerSpec
from launch.contract.offer import Need, Offer
from launch.providers.runpod.adapter import RunPod
from tests.clouds.fake_runpod import FakeRunPod
from tests.clouds.server import PLAIN

KEY = "account-key-of-a-person"
LINK = "https://bucket.example/keys?signature=planted-secret-text"
NAME = "mimir-run-a0001"
PRINTS = ("sh", "-c", "echo one; echo two; sleep 60")


def adapter(fake: FakeRunPod, **environ: str) -> RunPod:
    given = {"RUNPOD_API_KEY": KEY, "MIMIR_RUNPOD_URL": fake.url, **environ}
    return RunPod(environ=given, transport=PLAIN, sleep=fake.clock.advance, clock=fake.clock.time)


def boot(*command: str, **env: str) -> ContainerSpec:
    return ContainerSpec("image:tag", command or ("sleep", "60"), {"LINK": LINK, **env})


def offer(cloud: RunPod) -> Offer:
    return min(cloud.offers(Need()), key=lambda each: each.price)


def rent(cloud: RunPod, *command: str, **env: str) -> str:
    return cloud.create(offer(cloud), boot(*command, **env), NAME)


def sent(fake: FakeRunPod, method: str) -> list[Any]:
    return [each for each in fake.requests if each.method == method]
