"""The local heartbeat and its check."""

import os
import subprocess
import sys
from pathlib import Path

from mimir.worker import health
from tests.waiting import LIMIT


def test_nothing_trains_here_is_healthy(tmp_path: Path) -> None:
    assert health.check({})[0]
    assert health.check({"MIMIR_STATE_DIR": str(tmp_path / "none")})[0]


def test_fresh_then_stale(tmp_path: Path) -> None:
    where = {"MIMIR_STATE_DIR": str(tmp_path / "state")}
    health.touch_heartbeat(where)
    born = (tmp_path / "state" / "heartbeat").stat().st_mtime
    assert health.check(where, lambda: born + health.STALE - 1)[0]
    healthy, sentence = health.check(where, lambda: born + health.STALE + 1)
    assert not healthy
    assert sentence == "the last heartbeat was 181 s ago"


def test_a_beat_renews(tmp_path: Path) -> None:
    where = {"MIMIR_STATE_DIR": str(tmp_path)}
    health.touch_heartbeat(where)
    os.utime(tmp_path / "heartbeat", (0, 0))
    assert not health.check(where)[0]
    health.touch_heartbeat(where)
    assert health.check(where)[0]


def test_a_folder_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    where = {"MIMIR_STATE_DIR": str(tmp_path / "file")}
    health.touch_heartbeat(where)
    assert not health.check(where)[0]


def test_as_a_command_and_without_torch(tmp_path: Path) -> None:
    (tmp_path / "heartbeat").touch()
    os.utime(tmp_path / "heartbeat", (0, 0))
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mimir.worker.health"],
        env={**os.environ, "MIMIR_STATE_DIR": str(tmp_path)}, capture_output=True, text=True,
        check=False, timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == 1
    assert "the last heartbeat was" in done.stdout
    assert "torch" not in done.stderr
