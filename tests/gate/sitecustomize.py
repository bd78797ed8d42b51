"""Holds training at a step until a test lets it go on: `tests/gates.py` is the other side.

A Python that finds this folder on its PYTHONPATH runs this file when it starts, so a trainer is
held wherever it is started from: by a worker, a provider, a notebook or a container. Only the
standard library is imported here, and `mimir` itself knows nothing of it.
"""

import contextlib
import importlib.util
import os
import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

HELD = "mimir.training.loop"
"""The module whose loop is held."""


class _Finder:
    """Finds the loop's module as usual, and holds its loop as soon as it is loaded."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != HELD:
            return None
        sys.meta_path.remove(cls)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        loader: Any = spec.loader
        load = loader.exec_module

        def exec_module(module: Any) -> None:
            gate = Path(os.environ["MIMIR_TEST_GATE"])
            while opened(gate) < 0:
                time.sleep(0.01)
            load(module)
            hold(module.Loop, gate)

        loader.exec_module = exec_module
        return spec


def hold(loop: Any, gate: Path) -> None:
    """Let loops of this class take no step beyond the one that the file names.

    A held loop still looks at signals and at its committer. Where a run commits by steps, it
    commits the step at which it is held, so a test may wait for that commit.
    """
    poll = loop._poll

    def held(self: Any) -> None:
        poll(self)
        if self.committer is None:
            return  # a dry run, which ends by itself
        while self.engine.step >= opened(gate):
            # The user of a container may not write here, and no test of it asks.
            with contextlib.suppress(PermissionError):
                gate.with_suffix(".reached").write_text(str(self.engine.step))
            if self.engine.config.runtime.checkpoint_steps:
                self._checkpoint()
            time.sleep(0.01)
            poll(self)

    loop._poll = held


def opened(gate: Path) -> float:
    """The step that the file names; a gate that is not there is closed."""
    try:
        return float(gate.read_text())
    except FileNotFoundError:
        return 0.0


if "MIMIR_TEST_GATE" in os.environ:
    sys.meta_path.insert(0, _Finder)
