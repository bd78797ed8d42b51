"""An ordinary user's jobs on a real Slurm that train in an image."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.cluster import container
from launch.cluster.container import CHARLIECLOUD, Prepared, Runtime
from tests.gates import HOOK
from tests.slurm.conftest import CI, Ground, Her
from tests.waiting import LIMIT, unless_it_hangs, wait_for

APPTAINER = Path(__file__).parent / "apptainer.sh"
VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"

needs_charliecloud = pytest.mark.skipif(
    not CI and (shutil.which(CHARLIECLOUD) is None or os.getuid() != 0),
    reason="needs root and Charliecloud: tests/slurm/install.sh",
)


@pytest.fixture
def image(ground: Ground) -> Iterator[Path]:
    """This computer's own programs, Python and packages as an image, laid out as Mimir's own."""
    folder = ground.folder / "image"
    for name in ("dev", "etc", "home", "proc", "sys", "tmp", "usr", "packages"):
        (folder / name).mkdir(parents=True)
    for name in ("hosts", "resolv.conf", "passwd", "group"):
        (folder / "etc" / name).touch()
    for name in ("bin", "sbin", "lib", "lib64"):
        if Path("/", name).is_symlink():
            (folder / name).symlink_to(f"usr/{name}")
    base = Path(sys.base_prefix)
    mounts = {Path("/usr"): folder / "usr",
              Path(sysconfig.get_path("purelib")): folder / "packages"}  # fmt: skip
    if base != Path("/usr"):
        mounts[base] = folder / base.relative_to("/")
    venv = folder / "opt" / "venv"
    packages = venv / "lib" / VERSION / "site-packages"
    packages.mkdir(parents=True)
    (packages / "image.pth").write_text("/packages\n")
    shutil.copy(HOOK / "sitecustomize.py", packages)
    (venv / "pyvenv.cfg").write_text(f"home = {base}/bin\n")
    (venv / "bin").mkdir()
    (venv / "bin" / "python3").symlink_to(base / "bin" / VERSION)
    for source, to in mounts.items():
        to.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", str(source), str(to)], check=True, timeout=LIMIT)
    yield folder
    for to in mounts.values():
        subprocess.run(["umount", "--lazy", str(to)], check=True, timeout=LIMIT)


@needs_charliecloud
@pytest.mark.parametrize("runtime", ["ch-run", "apptainer"])
def test_a_job_in_an_image_goes_on(ground: Ground, her: Her, image: Path, runtime: str) -> None:
    """Charliecloud itself; of Apptainer a stand-in, which knows its documented options."""
    named, path = image, os.environ["PATH"]
    if runtime == "apptainer":
        named = ground.folder / "image.sif"
        named.write_text(f"{image}\n")
        programs = ground.folder / "programs"
        programs.mkdir()
        shutil.copy(APPTAINER, programs / "apptainer")
        path = f"{programs}:{path}"
    ground.gate.open(5)
    her.submit("hers", f"--image={named}", PATH=path, MIMIR_SLURM_ENV="MIMIR_TEST_GATE")
    ground.held_at(5, attempt=1)
    machine = ground.machine()
    assert machine.image == str(named)
    assert f"by {runtime}" in "\n".join(her.log())
    (worker,) = ground.cluster.processes("mimir.worker.attempt")
    lines = Path(f"/proc/{worker}/environ").read_bytes().decode().split("\0")
    inside = dict(line.split("=", 1) for line in lines if line)
    assert not [name for name in inside if name.startswith(("SLURM", "XDG_", "APPTAINER"))]
    assert "planted" not in str(inside)
    ground.cluster.run("scancel", "--batch", "--signal=TERM", machine.id)
    ground.held_at(5, attempt=2)
    ground.gate.open()
    status = ground.over()
    assert status.attempts[0].cause == "signal", "the worker heard it, and committed"
    assert not Path(inside["HOME"]).parent.exists(), "what it was given is removed"
    ground.assert_undisturbed()


@needs_charliecloud
def test_the_signal_reaches_the_worker_past_the_server_of_a_file(tmp_path: Path) -> None:
    """Of a .sqfs file ch-run is the file system, which must stay until the worker has ended."""
    root, packed = tmp_path / "root", tmp_path / "image.sqfs"
    for name in ("bin", "dev", "etc", "home", "proc", "sys", "tmp", "usr/bin"):
        (root / name).mkdir(parents=True)
    for name in ("hosts", "resolv.conf", "passwd", "group"):
        (root / "etc" / name).touch()
    for program in ("/bin/sh", "/bin/sleep"):
        shutil.copy(program, root / "bin")
        told = subprocess.run(
            ["ldd", program], capture_output=True, text=True, check=True, timeout=LIMIT
        ).stdout
        for word in told.split():
            if word.startswith("/"):
                to = root / word.lstrip("/")
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(word, to)
    subprocess.run(["mksquashfs", str(root), str(packed), "-quiet"], check=True,
                   stdout=subprocess.DEVNULL, timeout=LIMIT)  # fmt: skip
    runtime = Runtime(CHARLIECLOUD, shutil.which(CHARLIECLOUD) or "", packed)
    begun = tmp_path / "begun"
    # It starts a program after the signal, as a worker that commits reads and loads files.
    script = "trap 'sleep 0; exit 75' TERM; echo > /home/begun; while :; do sleep 0.05; done"
    words = (runtime.program, f"--bind={tmp_path}:/home", str(packed), "--", "sh", "-c", script)
    child = Prepared(runtime, words, {"PATH": "/bin", "USER": "root"}, tmp_path).start()
    wait_for(lambda: begun.exists() or child.poll() is not None, "the container")
    container.terminate(child, runtime)
    assert unless_it_hangs(child.wait) == 75
