"""The training guide's door: `python scripts/train.py --preset small --run-name x -v`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mimir import cli
from mimir.commands import train

if __name__ == "__main__":
    cli.run("python scripts/train.py", train)
