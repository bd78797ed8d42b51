"""What starts a worker in an image, and what it is told: command lines alone."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from launch.cluster import container
from launch.cluster.container import Runtime
from launch.contract.provider import AttemptSpec
from mimir.errors import BadInput
from mimir.runs import layout
from mimir.runs.store import open_store
from tests.e2e import jobs

ENVIRON = {
    "PATH": "/bin", "HOME": "/home/ada", "TZ": "UTC", "RUNPOD_API_KEY": "planted",
    "SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "3", "MIMIR_SLURM_ENV": "MINE", "MINE": "yes",
    "PYTHONPATH": "/of/the/node", "LD_LIBRARY_PATH": "/of/the/node",
}  # fmt: skip


def having(*programs: str) -> Callable[[str], str | None]:
    """A node with these programs, as shutil.which tells."""
    return lambda name: f"/usr/bin/{name}" if name in programs else None


@pytest.mark.parametrize(
    ("programs", "image", "name"),
    [
        (("apptainer", "singularity", "ch-run"), "x.sif", "apptainer"),
        (("singularity", "ch-run"), "x.sif", "singularity"),
        (("apptainer", "ch-run"), "folder", "apptainer"),
        (("ch-run",), "folder", "ch-run"),
        (("ch-run",), "x.sqfs", "ch-run"),
    ],
)
def test_which_program_starts_an_image(
    tmp_path: Path, programs: tuple[str, ...], image: str, name: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "x.sif").touch()
    (tmp_path / "x.sqfs").touch()
    found = container.find(str(tmp_path / image), "gpu1", having(*programs))
    assert (found.name, found.program) == (name, f"/usr/bin/{name}")
    assert found.is_parent == (image == "x.sqfs")


@pytest.mark.parametrize(
    ("programs", "image", "said"),
    [
        ((), "x.sif", "node gpu1 has neither Apptainer nor Charliecloud"),
        (("ch-run",), "x.sif", "starts a folder or a .sqfs file, and not x.sif"),
        (("apptainer",), "nosuch.sif", "node gpu1 does not see the image"),
    ],
)
def test_a_node_that_cannot_start_it_says_so(
    tmp_path: Path, programs: tuple[str, ...], image: str, said: str
) -> None:
    (tmp_path / "x.sif").touch()
    with pytest.raises(BadInput, match=said) as caught:
        container.find(str(tmp_path / image), "gpu1", having(*programs))
    assert "\n" not in str(caught.value)


def told(
    folder: Path, data: Path, name: str, environ: Mapping[str, str] = ENVIRON, url: str = ""
) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """(words before the image, environment of the command, environment inside) of a run."""
    store = open_store((folder / "runs").as_uri())
    jobs.submit(store, "run", data)
    spec = AttemptSpec(url or store.url, "run", 1)
    runtime = Runtime(name, f"/usr/bin/{name}", folder / "image")
    with container.prepared(runtime, store, spec, print, environ) as made:
        words, around = list(made.words), dict(made.environ)
        assert made.folder.stat().st_mode & 0o077 == 0, "nobody else's to look into"
        before = words[: words.index(str(folder / "image"))]
        if name == container.CHARLIECLOUD:
            own = made.folder / "environment"
            assert own.stat().st_mode & 0o077 == 0
            lines = own.read_text().splitlines()
        else:
            prefix = f"{name.upper()}ENV_"
            lines = [f"{n[len(prefix) :]}={v}" for n, v in around.items() if n.startswith(prefix)]
        inside = dict(line.split("=", 1) for line in lines)
        for bind in (word.split(":") for word in before if word.startswith(f"{folder}/")):
            assert Path(bind[1]).parent.exists()
    assert not made.folder.exists()
    assert "-m" not in words
    assert words[words.index("python3") + 1] == "-c"
    assert words[words.index("--store") + 1] == inside["MIMIR_STORE"]
    return before, around, inside


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return jobs.write_data(tmp_path / "peptides.csv", 12)


def test_what_apptainer_is_told(tmp_path: Path, data: Path) -> None:
    words, _, inside = told(tmp_path, data, "apptainer")
    assert words[:5] == ["/usr/bin/apptainer", "exec", "--nv", "--cleanenv", "--home"]
    store = inside["MIMIR_STORE"].removeprefix("file://")
    run = tmp_path / "runs" / "run"
    assert f"{run}:{store}/run:rw" in words
    record = layout.record_key("run")
    assert f"{run.parent / record}:{store}/{record}:ro" in words
    assert "HOME" not in inside, "Apptainer refuses it: --home says it"


def test_what_charliecloud_is_told(tmp_path: Path, data: Path) -> None:
    words, around, inside = told(tmp_path, data, "ch-run")
    store = inside["MIMIR_STORE"].removeprefix("file://")
    bound = [word for word in words if word.startswith("--bind=")]
    assert f"--bind={tmp_path}/runs/run:{store}/run" in bound
    assert len(bound) == 2, "the run, and what is compiled; it cannot bind to be read alone"
    assert set(around) == {"PATH", "USER"}, "all of its own would be passed on"
    assert "--set-env" not in words
    (tmp_path / "image" / "ch").mkdir(parents=True)
    (tmp_path / "image" / "ch" / "environment").write_text("MIMIR_STORE=file:///data\n")
    words, _, _ = told(tmp_path, data, "ch-run")
    own = next(number for number, word in enumerate(words) if word.startswith("--set-env="))
    assert words.index("--set-env") < own, "the last of two counts: ours"


@pytest.mark.parametrize("name", ["apptainer", "singularity", "ch-run"])
def test_the_image_gets_variables_by_name_alone(tmp_path: Path, data: Path, name: str) -> None:
    words, _, inside = told(tmp_path, data, name)
    assert inside["CUDA_VISIBLE_DEVICES"] == "3"
    assert (inside["MINE"], inside["TZ"]) == ("yes", "UTC")
    of_the_node = ("PATH", "SHELL", "PYTHONPATH", "LD_LIBRARY_PATH", "SLURM_JOB_ID")
    assert not set(of_the_node) & inside.keys()
    assert "planted" not in str(inside)
    assert not [word for word in words if "yes" in word], "a command line is anybody's to read"


@pytest.mark.parametrize("url", ["", "s3://bucket/runs"])
def test_keys_are_bound_for_a_bucket_and_not_for_a_folder(
    tmp_path: Path, data: Path, url: str
) -> None:
    home, pem = tmp_path / "ada", tmp_path / "ca.pem"
    (home / ".aws").mkdir(parents=True)
    pem.touch()
    environ = {**ENVIRON, "HOME": str(home), "SSL_CERT_FILE": str(pem), "AWS_CONFIG_FILE": str(pem)}
    words, _, inside = told(tmp_path, data, "apptainer", environ, url)
    assert f"{pem}:{inside['SSL_CERT_FILE']}:ro" in words
    if url:
        at = Path(words[words.index("--home") + 1])
        assert f"{home}/.aws:{at}/.aws:ro" in words
        assert f"{pem}:{inside['AWS_CONFIG_FILE']}:ro" in words
        assert inside["MIMIR_STORE"] == url
    else:
        assert not [word for word in words if ".aws" in word]
        assert "AWS_CONFIG_FILE" not in inside
