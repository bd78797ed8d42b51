"""Two minutes on a real Colab machine without a GPU, for a person with an account.

    make colab-live        COLAB_CLI_PATH names Google's CLI; sign in once by `colab sessions`

It makes one session, runs a small job in it, asks it to end, ends the session whatever
happened before, and shows that the account's list has it no more. It needs no store.
"""

import os
import sys
import time

from launch.providers import colab_folder
from launch.providers.colab import ColabProvider
from mimir.errors import MimirError

SECONDS = 90
NAME = "mimir-live-a0001"
JOB = f"""
import os, platform, shutil, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("asked to end"), sys.exit(75)))
print("python", platform.python_version(), "cores", os.cpu_count(), "key", len(os.environ["KEY"]))
print("disk GB free", shutil.disk_usage("/").free // 10**9, flush=True)
for second in range({10 * SECONDS}):
    time.sleep(1)
"""


def main() -> int:
    provider = ColabProvider()
    record = None
    try:
        for check in provider.checks():
            print(f"{check.status}: {check.details}")
        job = {"command": ["python3", "-c", JOB], "env": {"KEY": "not-a-key"}}
        record = provider.begin(colab_folder.root() / "live" / NAME, NAME, "", job)
        print(f"session {record['endpoint']}: its cell runs")
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            time.sleep(15)
            print(f"there: {provider.alive(record)}; printed: {provider.output(record, 3)}")
    except MimirError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    finally:
        if record is not None:
            provider.end(record)
            print(f"ended; there: {provider.alive(record)}")
            left = os.path.exists(record["folder"])
            print(f"left on this computer: {'its folder' if left else 'nothing but a log'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
