"""Two minutes on a real Colab machine without a GPU, for a person with an account.

    make colab-live        COLAB_CLI_PATH names Google's CLI; sign in once by `colab sessions`

It makes one session, runs a small job in it, asks it to end, ends the session whatever
happened before, and shows that the account's list has it no more. It needs no store.
"""

import sys
import time

from launch.contract.provider import AttemptSpec, Machine
from launch.providers.colab import folder
from launch.providers.colab.provider import ColabProvider
from mimir.errors import MimirError

SECONDS, EVERY = 90.0, 15.0
"""For which the job is left alone, and between looks at it."""
SPEC = AttemptSpec("s3://runs/live", "live", 1)
NAME = "mimir-live-a0001"
JOB = """
import os, platform, shutil, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("asked to end"), sys.exit(75)))
print("python", platform.python_version(), "cores", os.cpu_count(), "key", len(os.environ["KEY"]))
print("disk GB free", shutil.disk_usage("/").free // 10**9, flush=True)
for second in range(900):
    time.sleep(1)
"""


def main() -> int:
    """0: it ran, and the session is gone; else an exit code, after a sentence."""
    provider = ColabProvider()
    for check in provider.checks():
        print(f"{check.status}: {check.details}")
    record, code = None, 0
    try:
        job = {"command": ["python3", "-c", JOB], "env": {"KEY": "not-a-key"}}
        record = provider.begin(folder.of(SPEC), NAME, "", job)
        print(f"session {record.detail('endpoint')}: its cell runs")
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            time.sleep(EVERY)
            print(f"there: {provider.alive(record)}; printed: {provider.output(record, 3)}")
    except MimirError as error:
        print(error, file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    return _end(provider, record) or code if record is not None else code


def _end(provider: ColabProvider, record: Machine) -> int:
    """End the session, whatever happened before; 0 if it is gone."""
    try:
        provider.end(SPEC, record)
    except MimirError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"ended; there: {provider.alive(record)}")
    left = folder.of(SPEC).exists()
    print(f"left on this computer: {'its folder' if left else 'nothing but a log'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
