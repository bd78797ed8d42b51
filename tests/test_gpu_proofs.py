"""The script that runs the proofs on a GPU, with parts that need none."""

import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import gpu_proofs
from bench.gpu_proofs import Part, main
from mimir.errors import BadInput
from tests.waiting import wait_for

HANGS = 1.0
"""The limit of the part that hangs. It is over when that part has started all that it starts."""
PROGRAM = """
import subprocess, sys
print(sys.argv[1:], flush=True)
if "hangs" in sys.argv:
    print(subprocess.Popen(["sleep", "600"], start_new_session=True).pid, flush=True)
    subprocess.run(["sleep", "600"])
sys.exit("fails" in sys.argv)
"""


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "part.py"
    program.write_text(PROGRAM)
    known = {
        "fails": Part(f"{program} fails", 300),
        "hangs": Part(f"{program} hangs", HANGS),
        "works": Part(f"{program} {{out}} {{data}}", 300),
    }
    monkeypatch.setattr(gpu_proofs, "PARTS", known)


def numbers(log: Path) -> list[int]:
    words = (line.partition("hangs: ")[2] for line in log.read_text().splitlines())
    return [int(word) for word in words if word.isdecimal()]


@pytest.mark.usefixtures("parts")
def test_a_part_that_fails_or_hangs_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "out" / "gpu-proofs.log"

    class Timer:
        def __init__(self, limit: float, end: Callable[[], None]) -> None:
            self.limit, self.end = limit, end

        def start(self) -> None:
            if self.limit == HANGS:
                threading.Thread(target=self.later).start()

        def later(self) -> None:
            wait_for(lambda: numbers(log), "the part's own process")
            self.end()

        def cancel(self) -> None:
            pass

    monkeypatch.setattr(threading, "Timer", Timer)
    assert main(out=str(tmp_path / "out"), parts="fails,hangs+works") == 1
    lines = log.read_text().splitlines()
    assert [line.split(" s  ")[1] for line in lines[-3:]] == [
        "FAILED with exit code 1", "FAILED: cut off", "ok",
    ]  # fmt: skip
    assert f"works: {[str(tmp_path / 'out'), '']}" in lines
    (left,) = numbers(log)

    def gone() -> bool:
        status = Path(f"/proc/{left}/stat")
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"

    wait_for(gone, "the end of what the part had started")


def test_all_parts_are_in_the_order() -> None:
    assert sorted(re.split("[,+]", gpu_proofs.ORDER)) == sorted(gpu_proofs.PARTS)


@pytest.mark.usefixtures("parts")
def test_parts_are_named_and_need_time(tmp_path: Path) -> None:
    assert main(out=str(tmp_path), parts="works") == 0
    assert main(out=str(tmp_path), parts="works", seconds=0) == 1
    with pytest.raises(BadInput, match=r"no part 'work'.*works"):
        main(out=str(tmp_path), parts="work")


def test_every_part_has_its_options(tmp_path: Path) -> None:
    for part in gpu_proofs.PARTS.values():
        assert "{" not in part.words.format(out="o", before="b", data="d")
    with pytest.raises(BadInput, match="--before"):
        main(out=str(tmp_path), parts="revisions")
