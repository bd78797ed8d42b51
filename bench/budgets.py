"""What `bench.ledger --check` holds: kernels of a step, no spills, no weights moved one by one."""

from collections import Counter

from bench.launches import Launch

BUDGET = {"large": 253.0, "small": 152.0}
OWN_BUDGET = {"large": 96.0, "small": 12.0}
"""Kernels that a step may launch on compute capability 9.0, and with all of our own."""
LESS = 2.0
"""By as many fewer the budget is to be set down, or the count has lost some."""
BULK = (("measure", "ld", 4), ("apply", "ld", 16), ("apply", "st", 16))
"""(part, kind, bytes): what an instruction moves at least where all weights are loaded for the
gradient's norm, and loaded and stored by the update. How the norm's sum is split, and so how wide
its loads are, depends on the number of weights: 8 bytes with the guide's 748 targets, 4 with the
sample's 703."""
SINGLE = 6
"""Instructions of such a kernel that may move single numbers, such as the learning rate."""
WIDE = 8
"""Bytes that most instructions of our own update move at least."""


def kernels(preset: str, capability: str, asked: str) -> float | None:
    """Kernels that a step of this preset may launch; None where no number is held.

    capability: times ten. asked: which of our own, as for `bench.ledger`.
    """
    if capability != "90":
        return None
    return {"": BUDGET, "all": OWN_BUDGET}.get(asked, {}).get(preset)


def broken(
    title: str, budget: float | None, parts: dict[str, list[Launch]], steps: int
) -> list[str]:
    """What is not as its budget says, in sentences.

    Args:
        title: of the preset and the GPU.
        budget: kernels of a step; None for any number.
        parts: launches by part of the step, of `steps` steps.
    """
    launches = [launch for part in parts.values() for launch in part]
    found, count = [], len(launches) / steps
    if budget is not None and count > budget:
        found.append(f"{title} launches {count:.1f} kernels a step, more than {budget:.0f}")
    if budget is not None and count < budget - LESS:
        found.append(
            f"{title} launches {count:.1f} kernels a step, fewer than {budget:.0f}: set its budget "
            "down, or find what is not counted"
        )
    for launch in dict.fromkeys(launches):
        if launch.code is not None and launch.code.spilled:
            found.append(f"{title}: {launch.name} spills {launch.code.spilled} bytes a thread")
    for part, kind, least in () if "update" in parts else BULK:
        name, widths = _bulk(parts[part], kind)
        wide = sum(number for width, number in widths.items() if width >= least)
        if not wide or widths.total() - wide > SINGLE:
            found.append(
                f"{title}: {name} moves all weights by {widths.total() - wide} {kind} instructions "
                f"of less than {least} bytes, and {wide} others"
            )
    for kind in ("ld", "st") if "update" in parts else ():
        name, widths = _bulk(parts["update"], kind)
        wide = sum(number for width, number in widths.items() if width >= WIDE)
        if 2 * wide <= widths.total():
            found.append(f"{title}: {name} moves weights one by one ({kind})")
    return found


def _bulk(launches: list[Launch], kind: str) -> tuple[str, Counter[int]]:
    """The name of the kernel that moves most, and its accesses of this kind."""
    bulk = max(launches, key=lambda launch: launch.moved)
    assert bulk.code is not None
    return bulk.name, bulk.code.accesses[kind]
