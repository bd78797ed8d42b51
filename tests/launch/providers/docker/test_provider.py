"""Provider docker against an engine that exists on paper: what it asks for, and what it makes
of the answers. tests/image/ has it with a real engine."""

import errno
import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from launch.contract import state
from launch.contract.errors import NoCapacity, NotGone, UnknownOutcome
from launch.contract.provider import AttemptSpec
from launch.payload import code_in_store
from launch.providers import registry
from launch.providers.docker.cli import Engine
from launch.providers.docker.provider import DockerProvider
from mimir.errors import BadInput
from mimir.runs.probe import probe
from mimir.runs.record import RunRecord, create_run
from mimir.runs.store import open_store
from tests.launch.providers.docker.paper import Paper
from tests.waiting import LIMIT

S3 = "s3://bucket/runs?endpoint=https://s3.example.org"


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture
def provider(paper: Paper, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DockerProvider:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    engine = Engine(paper, which=lambda name: f"/bin/{name}")
    return DockerProvider(engine, has_gpu=lambda: False, clock=lambda: 1000.0)


@pytest.fixture
def spec(tmp_path: Path) -> AttemptSpec:
    return AttemptSpec(store=(tmp_path / "my store, 1").as_uri(), run="first", attempt=3)


def created(paper: Paper) -> list[str]:
    return next(words for words in paper.asked if words[0] == "create")


def value(words: list[str], option: str) -> list[str]:
    return [words[i + 1] for i, word in enumerate(words) if word == option]


def test_a_run_of_a_sweep_can_read_what_its_runs_share(
    provider: DockerProvider, paper: Paper, spec: AttemptSpec
) -> None:
    provider.start(replace(spec, store="file:///runs", sweep="lr"))
    bound = value(created(paper), "--mount")
    assert bound[-1] == "type=bind,source=/runs/_sweeps/lr,target=/runs/_sweeps/lr,readonly"


def test_the_order(provider: DockerProvider, paper: Paper, spec: AttemptSpec) -> None:
    folder = (
        Path(spec.store.removeprefix("file://").replace("%20", " ").replace("%2C", ",")) / "first"
    )
    for inner in ("launcher", "data"):
        (folder / inner).mkdir(parents=True)
    (folder / "run.json").touch()
    machine = provider.start(spec)
    words = created(paper)
    assert value(words, "--name") == ["mimir-first-a0003"]
    assert "mimir.run=first" in value(words, "--label")
    assert value(words, "--mount") == [f'type=bind,"source={folder}","target={folder}"'] + [
        f'type=bind,"source={folder / inner}","target={folder / inner}",readonly'
        for inner in ("launcher", "run.json", "data")
    ]
    assert value(words, "--network") == ["none"]
    assert value(words, "--user") == [f"{os.getuid()}:{os.getgid()}"]
    assert {"--read-only", "no-new-privileges"} <= set(words)
    assert "--gpus" not in words
    tail = words[words.index("mimir:latest") :]
    assert tail == ["mimir:latest", "--", "mimir-entrypoint", "worker", *spec.worker_options()]
    assert machine.id == "id-mimir-first-a0003"
    json.dumps(machine.as_json())
    assert provider.alive(machine) is True


def test_a_deadline_is_also_held_outside_of_python(
    provider: DockerProvider, paper: Paper, spec: AttemptSpec
) -> None:
    deadline = open_store(spec.store).now() + 3600
    provider.start(AttemptSpec(store=spec.store, run="first", attempt=3, deadline=deadline))
    words = created(paper)
    at = words.index("timeout")
    assert words[at : at + 3] == ["timeout", "--foreground", "--kill-after=60"]
    assert 4800 - LIMIT < int(words[at + 3]) <= 4800
    assert words[-2:] == ["--deadline", repr(deadline)]


def test_keys_are_in_a_file_and_nowhere_else(
    provider: DockerProvider, paper: Paper, tmp_path: Path
) -> None:
    env = {"AWS_ACCESS_KEY_ID": "AKIAPLANTED", "AWS_SECRET_ACCESS_KEY": "planted/secret"}
    spec = AttemptSpec(S3, "first", 1, env={**env, "PLAIN": "yes"})
    machine = provider.start(spec)
    words = created(paper)
    assert not any("planted" in word.lower() for asked in paper.asked for word in asked)
    assert "planted" not in json.dumps(machine.as_json()).lower()
    assert "PLAIN" in value(words, "--env")
    assert paper.environ["PLAIN"] == "yes"
    assert "planted/secret" not in paper.environ.values()
    assert not set(env) & set(value(words, "--env")), "the engine would show them"
    file = state.of_attempt("keys", S3, "first", 1) / "keys.json"
    assert json.loads(file.read_text())["SecretAccessKey"] == "planted/secret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert value(words, "--mount") == [f"type=bind,source={file.parent},target=/run/mimir,readonly"]
    assert "MIMIR_CREDENTIALS_FILE=/run/mimir/keys.json" in value(words, "--env")
    assert not value(words, "--network")
    provider.end(spec, machine)
    assert not file.parent.exists()


def test_without_keys_in_the_order_it_has_a_copy_of_our_own(
    provider: DockerProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOWN")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "own")
    provider.start(AttemptSpec(S3, "first", 1))
    file = state.of_attempt("keys", S3, "first", 1) / "keys.json"
    assert json.loads(file.read_text())["AccessKeyId"] == "AKIAOWN"


def test_a_server_on_the_loopback_is_reached(provider: DockerProvider, paper: Paper) -> None:
    env = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "B"}
    store = "s3://bucket/runs?endpoint=http://127.0.0.1:9000"
    provider.start(AttemptSpec(store, "first", 1, env=env))
    assert value(created(paper), "--network") == ["host"]


def test_a_launcher_that_died_after_its_order_finds_the_container(
    provider: DockerProvider, paper: Paper, spec: AttemptSpec
) -> None:
    first = provider.start(spec)
    again = provider.start(spec)
    assert again.id == first.id
    assert sum(words[0] == "create" for words in paper.asked) == 1


def test_a_container_that_was_made_but_not_started_is_started(
    provider: DockerProvider, paper: Paper, spec: AttemptSpec
) -> None:
    provider.start(spec)
    paper.containers["mimir-first-a0003"]["State"]["Status"] = "created"
    assert provider.alive(provider.start(spec)) is True


def test_a_new_attempt_ends_what_older_ones_left(
    provider: DockerProvider, paper: Paper, spec: AttemptSpec
) -> None:
    provider.start(spec)
    other = AttemptSpec(store=spec.store, run="other", attempt=1)
    provider.start(other)
    provider.start(AttemptSpec(store=spec.store, run="first", attempt=4))
    assert set(paper.containers) == {"mimir-first-a0004", "mimir-other-a0001"}


def test_the_name_is_taken_by_another_stores_run(
    provider: DockerProvider, spec: AttemptSpec
) -> None:
    provider.start(spec)
    with pytest.raises(BadInput, match="of a run in another store"):
        provider.start(AttemptSpec(store="file:///elsewhere", run="first", attempt=3))


def test_end_is_verified(provider: DockerProvider, paper: Paper, spec: AttemptSpec) -> None:
    machine = provider.start(spec)
    paper.immortal = True
    with pytest.raises(NotGone, match="still there"):
        provider.end(spec, machine)
    paper.immortal = False
    provider.end(spec, machine)
    assert provider.alive(machine) is False
    provider.end(spec, machine)


def test_only_the_attempts_own_container_and_keys_are_ended(
    provider: DockerProvider, paper: Paper, spec: AttemptSpec, tmp_path: Path
) -> None:
    """The record in the store names another container, and a folder of this computer."""
    theirs = provider.start(AttemptSpec(store=spec.store, run="other", attempt=1))
    mine = provider.start(spec)
    folder = tmp_path / "precious"
    folder.mkdir()
    forged = replace(theirs, name=mine.name, details={"keys": str(folder)})
    with pytest.raises(NotGone, match=r"is mimir-other-a0001.*docker rm --force mimir-other-a0001"):
        provider.end(spec, forged)
    assert set(paper.containers) == {"mimir-other-a0001"}
    assert folder.is_dir()


def test_who_cannot_tell_says_so(provider: DockerProvider, paper: Paper, spec: AttemptSpec) -> None:
    machine = provider.start(spec)
    assert provider.output(machine, 5) == ["one", "two"]
    assert provider.alive(replace(machine, host="elsewhere")) is None
    with pytest.raises(NotGone, match="elsewhere"):
        provider.end(spec, replace(machine, host="elsewhere"))
    paper.slow.add("container")
    assert provider.alive(machine) is None
    paper.slow.clear()
    paper.refuses["container"] = "Cannot connect to the Docker daemon at unix:///x.sock."
    assert provider.alive(machine) is None
    with pytest.raises(NotGone, match="does not run"):
        provider.end(spec, machine)


@pytest.mark.parametrize(
    ("said", "kind", "sentence"),
    [
        ("Cannot connect to the Docker daemon at unix:///x.sock.", BadInput, "does not run"),
        ("permission denied while trying to connect to the docker API socket", BadInput, "group"),
        ('could not select device driver "" with capabilities: [[gpu]]', NoCapacity, "toolkit"),
    ],
)
def test_what_the_engine_says(
    provider: DockerProvider, paper: Paper, spec: AttemptSpec, said: str, kind: type, sentence: str
) -> None:
    paper.refuses["start"] = said
    with pytest.raises(kind, match=sentence):
        provider.start(spec)


def test_nothing_is_left_of_a_gpu_that_cannot_be_given(
    provider: DockerProvider, paper: Paper, spec: AttemptSpec
) -> None:
    paper.refuses["start"] = 'could not select device driver "" with capabilities: [[gpu]]'
    with pytest.raises(NoCapacity):
        provider.start(spec)
    assert not paper.containers


def test_an_engine_that_does_not_answer(
    provider: DockerProvider, paper: Paper, spec: AttemptSpec
) -> None:
    paper.slow.add("create")
    with pytest.raises(UnknownOutcome, match="within 60 s"):
        provider.start(spec)


def test_no_engine(spec: AttemptSpec) -> None:
    with pytest.raises(BadInput, match="neither is installed"):
        DockerProvider(Engine(which=lambda name: None)).start(spec)


def test_no_image(provider: DockerProvider, paper: Paper, spec: AttemptSpec) -> None:
    paper.images.clear()
    paper.refuses["pull"] = "Error: pull access denied for mimir"
    with pytest.raises(BadInput, match="make image"):
        provider.start(spec)


@pytest.mark.parametrize(("card", "given"), [(None, "all"), (1, "device=1")])
def test_a_gpu_is_given(paper: Paper, spec: AttemptSpec, card: int | None, given: str) -> None:
    engine = Engine(paper, which=lambda name: f"/bin/{name}")
    DockerProvider(engine, has_gpu=lambda: True).start(replace(spec, card=card))
    assert value(created(paper), "--gpus") == [given]
    # What it compiles is there for the next container of this image, and for no other's.
    kept = Path.home() / ".cache" / "mimir" / "compiled-in-containers"
    (folder,) = kept.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert f"type=bind,source={folder},target=/var/cache/mimir" in value(created(paper), "--mount")
    assert "MIMIR_COMPILED=/var/cache/mimir" in value(created(paper), "--env")
    paper.images["other"] = {
        "Id": "sha256:1",
        "Config": {"Labels": {"org.opencontainers.image.title": "mimir"}},
    }
    DockerProvider(engine, has_gpu=lambda: True).start(replace(spec, run="second", image="other"))
    assert len(list(kept.iterdir())) == 2


@pytest.mark.parametrize("which", ["the run's", "what is compiled", "no home"])
def test_a_folder_that_cannot_be_used_is_named(
    which: str, paper: Paper, spec: AttemptSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one sentence, and before a container is made."""
    engine = Engine(paper, which=lambda name: f"/bin/{name}")
    provider = DockerProvider(engine, has_gpu=lambda: True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    named = str(tmp_path / "cache" / "mimir")
    if which == "the run's":
        named = str(tmp_path / "my store, 1" / "first" / "launcher")
        real = os.stat

        def stat(path: object, *args: object, **options: object) -> os.stat_result:
            if str(path) == named:  # root, who may run this test, is refused nothing
                raise PermissionError(errno.EACCES, "Permission denied", named)
            return real(path, *args, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "stat", stat)
    elif which == "no home":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", _no_home)
        named = "this user has no home folder; set XDG_CACHE_HOME"
    else:
        (tmp_path / "cache").touch()
    with pytest.raises(BadInput, match="cannot be used here: ") as raised:
        provider.start(spec)
    assert named in str(raised.value)
    assert not [words for words in paper.asked if words[0] == "create"]


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_somebody_elses_image_gets_our_code_from_the_store(
    provider: DockerProvider, paper: Paper, tmp_path: Path
) -> None:
    store = open_store((tmp_path / "store").as_uri())
    record = RunRecord("first", "smoke", {}, 0, 0.0, probe=probe(store, "first"))
    create_run(store, record)
    paper.images["torch:2"] = {"Config": {"Labels": None}}
    machine = provider.start(AttemptSpec(store.url, "first", 1, image="torch:2"))
    words = created(paper)
    assert machine.image == "torch:2"
    assert value(words, "--entrypoint") == ["python3"]
    assert words[words.index("torch:2") + 1] == "-c"
    assert words[-6:] == list(AttemptSpec(store.url, "first", 1).worker_options())
    environ = dict(pair.split("=", 1) for pair in value(words, "--env"))
    stored = code_in_store.of_run(store, "first")
    assert (environ["MIMIR_CODE"], environ["MIMIR_CODE_SHA256"]) == (stored.key, stored.sha256)
    assert store.get(stored.key, size=stored.size, sha256=stored.sha256)
    assert not value(words, "--network"), "pip may have to fetch what the image lacks"


def test_the_registry_has_it() -> None:
    assert registry.get("docker").name == "docker"
