import os
from pathlib import Path

import pytest

from mimir.worker import host_figures

GB = 10**9
MEMINFO = "MemTotal:  64000000 kB\nMemFree: 1 kB\nMemAvailable:  16000000 kB\n"
MACHINE = {"memory": 48e6 * 1024, "memory_of": 64e6 * 1024}


def made(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def group(
    folder: str, limit: str, used: int, inactive: int = 0, v1: bool = False
) -> dict[str, str]:
    names = host_figures.V1 if v1 else host_figures.V2
    stat = f"anon 5\n{names[2]} {inactive}\n"
    texts = {names[0]: limit, names[1]: str(used), "memory.stat": stat}
    return {f"sys/fs/cgroup/{folder}/{name}": text + "\n" for name, text in texts.items()}


@pytest.mark.parametrize(
    ("files", "memory"),
    [
        ({}, MACHINE),
        ({"proc/self/cgroup": "0::/\n", **group("", "max", 5 * GB)}, MACHINE),
        (
            {"proc/self/cgroup": "0::/\n", **group("", str(8 * GB), 5 * GB, 2 * GB)},
            {"memory": 3e9, "memory_of": 8e9},
        ),
        (  # a job's own group has no limit, the one above it has
            {
                "proc/self/cgroup": "0::/job/step\n", **group("job/step", "max", GB),
                **group("job", str(4 * GB), 2 * GB),
            },
            {"memory": 2e9, "memory_of": 4e9},
        ),
        (  # the path is the host's, and the container sees its own group at the top
            {"proc/self/cgroup": "0::/docker/abc\n", **group("", str(4 * GB), GB)},
            {"memory": 1e9, "memory_of": 4e9},
        ),
        (
            {
                "proc/self/cgroup": "9:cpu:/\n4:memory:/box\n0::/\n",
                **group("memory/box", str(6 * GB), 5 * GB, GB, v1=True),
            },
            {"memory": 4e9, "memory_of": 6e9},
        ),
        (  # v1 says "no limit" by a number larger than any memory
            {"proc/self/cgroup": "4:memory:/\n", **group("memory", str(2**63 - 4096), 1, v1=True)},
            MACHINE,
        ),
        ({"proc/self/cgroup": "nonsense\n\n::\n", "proc/meminfo": "MemTotal: much\n"}, {}),
    ],
)  # fmt: skip
def test_memory_is_that_of_the_container(
    tmp_path: Path, files: dict[str, str], memory: dict[str, float]
) -> None:
    assert host_figures.read(1, [], made(tmp_path, files)) == memory


def test_what_this_machine_tells(tmp_path: Path) -> None:
    found = host_figures.read(os.getpid(), [tmp_path, tmp_path / "missing"])
    assert 0 < found["process_memory"] < found["memory_of"]
    assert 0 < found["disk_free"] <= found["disk_of"]
    assert 0 <= found["memory"] <= found["memory_of"]


@pytest.mark.parametrize("lacks", [(), ("sched_getaffinity",), ("getloadavg",)])
def test_waiting_processes_on_any_system(
    monkeypatch: pytest.MonkeyPatch, lacks: tuple[str, ...]
) -> None:
    for name in lacks:
        monkeypatch.delattr(os, name)
    assert 0 <= host_figures.processes_waiting() < 1e4


def test_folders_are_those_that_a_worker_writes_to() -> None:
    assert Path("/my runs") in host_figures.folders_of("file:///my%20runs")
    assert len(host_figures.folders_of("s3://bucket/prefix")) == 1
