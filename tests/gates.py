"""A gate holds training at a step, so a test decides how far it gets, and not the machine's speed.

A run that is "long enough" is over too early on a faster machine and too late on a slower one.
With a gate, what must happen in the middle of a run happens there on every machine.
"""

import os
from pathlib import Path

HOOK = Path(__file__).parent / "gate"
"""A folder for PYTHONPATH: its sitecustomize.py holds the loop."""


class Gate:
    """Closed when made: training takes its first step once it is opened.

    path: a file that the trainer can read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.open(0)

    def open(self, step: float = float("inf")) -> None:
        """Let training go on to this step, or to its end; -1: it may not even be begun.

        A process that may not begin waits in an import, before it has claimed anything.
        """
        fresh = self.path.with_suffix(".new")
        fresh.write_text(str(step))
        fresh.replace(self.path)

    def reached(self) -> int:
        """The step at which training was held last, -1 if it never was."""
        path = self.path.with_suffix(".reached")
        text = path.read_text() if path.exists() else ""
        return int(text) if text else -1

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which a Python and all that it starts is held at this gate."""
        python = os.pathsep.join(filter(None, (str(HOOK), os.environ.get("PYTHONPATH"))))
        return {"PYTHONPATH": python, "MIMIR_TEST_GATE": str(self.path)}
