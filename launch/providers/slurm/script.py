"""The batch script: a few lines of sh that become the program which looks after the attempt."""

import shlex
import sys

from launch.contract.provider import AttemptSpec
from launch.providers.slurm.options import SIGNALS

PROGRAM = "launch.cluster.job"

_TEXT = """\
#!/bin/sh
# Mimir: attempt {attempt} of run {run}. A signal before Python listens is left to Slurm, which then
# ends the job itself and starts it again.
trap '' {signals}
unset SLURM_EXPORT_ENV
exec {command}
"""


def of(spec: AttemptSpec) -> str:
    """Its python is the one that submits, which the nodes must have under the same path."""
    record = ("--record", spec.record) if spec.record else ()
    image = ("--image", spec.image) if spec.image else ()
    words = (
        sys.executable, "-m", PROGRAM, "--store", spec.store, "--run", spec.run,
        "--attempt", str(spec.attempt), *record, *image,
    )  # fmt: skip
    return _TEXT.format(
        attempt=spec.attempt, run=spec.run, signals=" ".join(SIGNALS), command=shlex.join(words)
    )
