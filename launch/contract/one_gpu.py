"""That a run trains on one GPU: what to say where somebody asks for two."""

from mimir.errors import BadInput

WHY = (
    "a run trains on one GPU: with several it would never be cheaper and hardly faster "
    "(docs/decisions/one-gpu.md); ask for one, and begin several runs at once instead"
)
WORDS = ("gpus", "num_gpus", "n_gpus", "nproc", "nproc_per_node", "world_size", "nodes")
"""Options by which other trainers are given several GPUs."""


def only(count: int, asked: str) -> None:
    """BadInput if that many GPUs, or processes of a run, are asked for by these words."""
    if count > 1:
        raise BadInput(f"{asked} asks for {count}: {WHY}")
