"""What an offer promises of its machine, for the worker to check before any data moves."""

from launch.contract.offer import Offer
from launch.pricing import gpus
from mimir.runs.promised import Promised

UPLOAD = 0.25
"""Share of a host's own figure for its line that it must keep towards a store far away."""


def of(offer: Offer, disk_gb: float, upload_mbit: float) -> Promised:
    """Args:
    disk_gb: of the disk that is ordered with it.
    upload_mbit: what the run's checkpoints need. A host that promised less was taken knowingly.
    """
    return Promised(
        gpu=gpus.names(offer.gpu),
        memory_gb=offer.memory_gb,
        driver=offer.driver,
        disk_gb=disk_gb,
        upload_mbit=min(UPLOAD * offer.upload, upload_mbit),
    )
