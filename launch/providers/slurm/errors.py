"""What sbatch's refusals mean, by their words."""

import re

from launch.contract.errors import AccountLimit, AuthFailed, UnknownOutcome
from launch.providers.slurm.options import VARIABLE
from mimir.errors import BadInput, MimirError

_NO_ANSWER = re.compile(
    r"unable to contact|timed out|socket|zero bytes|communication|connection", re.I
)
_ACCOUNT = re.compile(r"authentication|munge|credential|invalid user|access/permission", re.I)
_LIMIT = re.compile(r"qos policy|accounting|submit limit|temporarily|too many jobs|slurmctld.*busy",
                    re.I)  # fmt: skip


def refused(words: str) -> MimirError:
    """The error for an order that sbatch did not carry out. words: its own, for people."""
    if _NO_ANSWER.search(words):
        return UnknownOutcome(f"sbatch got no answer: {words}")
    if _ACCOUNT.search(words):
        return AuthFailed(f"Slurm does not accept this account: {words}")
    if _LIMIT.search(words):
        return AccountLimit(f"Slurm takes no more jobs of yours now: {words}")
    return BadInput(
        f"Slurm refuses the job: {words}; say what your cluster wants by --slurm or ${VARIABLE}"
    )
