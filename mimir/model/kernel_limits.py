"""Which models, precisions and GPUs our kernels were written for. Without torch: estimates ask."""

from mimir.config import WIDEST_HEAD, Config

FUSED_SINCE = (8, 0)
"""Compute capability from which Triton's products run on tensor cores, which all of our kernels
but `attention` and the compiled update need."""
WIDEST = 128
"""The largest `dim` that the kernels of whole peptides take: a wider row stays in no registers."""
PEPTIDES = 128
"""The most peptides at once that these take: each has partial sums of its own."""


def names(config: Config) -> frozenset[str]:
    """The names in `config.KERNELS` that a run asks for."""
    return frozenset(filter(None, config.runtime.kernels.split(",")))


def narrow(config: Config) -> bool:
    """Whether the heads are as narrow as attention in one kernel needs."""
    return config.model.dim // config.model.heads <= WIDEST_HEAD


def fuses(config: Config, capability: tuple[int, int]) -> bool:
    """Whether attention runs as one kernel of ours each way, where torch compiles for the GPU."""
    return narrow(config) and (capability >= FUSED_SINCE or "attention" in names(config))


def refusal(config: Config, *, half: str, capability: tuple[int, int]) -> str:
    """Why one of the run's kernels cannot run there in this model, as one clause; "" if all can.

    half: the precision of the steps, "fp16" or any other. capability: of the GPU.
    """
    asked, size, training = names(config), config.model, config.training
    if capability < FUSED_SINCE and (newer := sorted(asked - {"attention"})):
        needs = "needs" if len(newer) == 1 else "need"
        return (
            f"{' and '.join(newer)} {needs} compute capability 8.0 or later, and this GPU has "
            f"{capability[0]}.{capability[1]}"
        )
    if {"peptide", "attention"} <= asked:
        return "peptide computes attention itself, and attention would change nothing"
    if "update" in asked and half == "fp16":
        return "update knows no loss scale, which float16 needs"
    if "wgrad" in asked and size.dim % 16:
        return f"wgrad loads 16 numbers at once, and dim is {size.dim}"
    batch = training.batch // training.accumulate
    if "peptide" in asked and not takes(size.dim, size.heads, size.ffn * size.dim, batch):
        return (
            f"peptide takes models of dim {WIDEST} at most, dim and dim / heads powers of 2, heads "
            f"of 16 or more, and {PEPTIDES} peptides at once at most"
        )
    return ""


def takes(dim: int, heads: int, wide: int, batch: int) -> bool:
    """Whether the kernels of whole peptides were written for a model of this size.

    wide: numbers in the middle of a feed-forward block. batch: peptides at once.
    """
    width = dim // heads
    powers = all(n & (n - 1) == 0 for n in (dim, width))
    return powers and width >= 16 and dim <= WIDEST and wide % dim == 0 and batch <= PEPTIDES
