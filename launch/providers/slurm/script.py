"""The batch script: a few lines of sh that become the program which looks after the attempt."""

import shlex
import sys

from launch.contract.provider import AttemptSpec
from launch.providers.slurm.options import SIGNALS
from mimir.errors import BadInput
from mimir.runs import layout

PROGRAM = "launch.cluster.job"

_TEXT = """\
#!/bin/sh
# Mimir: {what}. A signal before Python listens is left to Slurm, which then
# ends the job itself and starts it again.
trap '' {signals}
unset SLURM_EXPORT_ENV
exec {command}
"""


def of(spec: AttemptSpec) -> str:
    """Its python is the one that submits, which the nodes must have under the same path."""
    record = ("--record", spec.record) if spec.record else ()
    image = ("--image", spec.image) if spec.image else ()
    shared = ",".join(f"{run}:{attempt}:{sha256}" for run, attempt, sha256 in spec.beside)
    beside = ("--beside", shared) if shared else ()
    words = (
        sys.executable, "-m", PROGRAM, "--store", spec.store, "--run", spec.run,
        "--attempt", str(spec.attempt), *record, *image, *beside,
    )  # fmt: skip
    several = (spec.run, *(run for run, _, _ in spec.beside))
    one = f"attempt {spec.attempt} of run {spec.run}"
    what = f"runs {', '.join(several)}" if shared else one
    return _TEXT.format(what=what, signals=" ".join(SIGNALS), command=shlex.join(words))


def parse(beside: str) -> list[tuple[str, int, str]]:
    """(run, attempt, record) of each run that such an option names; BadInput if it is none."""
    found = []
    for text in filter(None, beside.split(",")):
        run, attempt, record = (*text.split(":"), "", "")[:3]
        if not attempt.isdigit():
            raise BadInput(f"--beside has {text!r} where RUN:ATTEMPT:RECORD is expected")
        found.append((layout.check_run(run), int(attempt), record))
    return found
