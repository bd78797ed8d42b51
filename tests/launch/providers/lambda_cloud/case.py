"""What the tests of Lambda's adapter share: an adapter of a fake, and a machine of it."""

from pathlib import Path
from typing import Any

from launch.contract.cloud import ContainerSpec
from launch.contract.errors import ProviderError
from launch.contract.offer import Offer
from launch.providers.lambda_cloud.adapter import Lambda
from tests.clouds.fake_lambda import FakeLambda
from tests.clouds.server import PLAIN

NAME = "mimir-r-a0001"
SLEEP = ContainerSpec("org/image:tag", ("sleep", "60"), {"MIMIR_RUN": "r"})
OFFER = Offer(
    "lambda", "gpu_1x_a10@us-west-2", "A10", 24, 0.75, "us-west-2", place="us-west-2",
    kind="datacenter", size="gpu_1x_a10",
    key={"type": "gpu_1x_a10", "region": "us-west-2"},
)  # fmt: skip


def adapter(service: FakeLambda, folder: Path, **environ: str) -> Lambda:
    return Lambda(
        environ={**service.environ(), **environ}, transport=PLAIN, clock=service.clock.time,
        sleep=service.clock.advance, folder=folder,
    )  # fmt: skip


def sent(service: FakeLambda, path: str, method: str = "POST") -> list[Any]:
    return [each for each in service.requests if each.method == method and path in each.path]


def logs(cloud: Lambda, id: str, lines: int) -> list[str]:
    """[] while sshd comes up."""
    try:
        return cloud.logs(id, lines)
    except ProviderError:
        return []
