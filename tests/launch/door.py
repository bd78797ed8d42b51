"""`python -m launch` whose local provider starts the stand-in worker.

Writes the names of all modules that were loaded to the file $LOADED, if it is set.
"""

import os
import signal
import sys
from pathlib import Path

from launch.commands import SUMMARY, TREE
from mimir import cli

STAND_IN = (sys.executable, "-m", "tests.launch.stand_in")


def main() -> None:
    # A shell that starts the tests in the background has Ctrl-C ignored for all of them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.argv[1] in ("submit", "resume", "sweep") and "STAND_IN" in os.environ:
        import launch.providers.local.provider

        launch.providers.local.provider.COMMAND = STAND_IN
    try:
        cli.main("python -m launch", SUMMARY, TREE)
    finally:
        if "LOADED" in os.environ:
            Path(os.environ["LOADED"]).write_text("\n".join(sys.modules))


if __name__ == "__main__":
    main()
