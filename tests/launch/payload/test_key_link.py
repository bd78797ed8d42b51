"""Keys on their way to a machine: through the store, by a link that is dead soon."""

import json
import os
import stat
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from launch.contract.cloud import ContainerSpec
from launch.contract.provider import AttemptSpec
from launch.payload import bootstrap, by_link, code_in_store, container, key_link
from launch.payload.credentials import Credentials
from mimir.errors import BadInput
from mimir.runs.listing import list_runs
from mimir.runs.record import RunRecord, create_run
from mimir.runs.store import Store, open_store
from mimir.worker import webhook
from tests.waiting import LIMIT

KEYS = Credentials("AKIAPLANTED", "planted-secret", "planted-session", 1_800_000_000.0)


class Became(Exception):
    pass


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    endpoint = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=endpoint, region_name="eu-north-1", **keys).create_bucket(
        Bucket="handovers", CreateBucketConfiguration={"LocationConstraint": "eu-north-1"}
    )
    yield endpoint
    server.stop()


@pytest.fixture
def store(moto: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with the run `run`; this computer's own keys are AKIALAPTOP."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIALAPTOP")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "laptops-own-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    store = open_store(f"s3://handovers/of {uuid.uuid4().hex}?endpoint={moto}")
    with code_in_store.file() as wheel:
        create_run(store, RunRecord("run", "smoke", {}, 0, 1.0), code=wheel)
    return store


def fetched(url: str) -> bytes:
    """What a link gives; b"" if it is dead."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        error.close()
        return b"" if error.code == 404 else str(error).encode()


def test_a_link_gives_the_keys_until_they_are_taken_back(store: Store) -> None:
    url = key_link.hand_over(store, "run", 1, KEYS, 7200)
    other = key_link.hand_over(store, "run", 2, KEYS, 7200)
    assert fetched(url) == KEYS.text().encode()
    assert "X-Amz-Expires=7200" in url
    assert "secret" not in url
    key_link.revoke(store, "run", 1)
    assert fetched(url) == b""
    assert fetched(other)
    key_link.revoke(store, "run", 1)
    assert [listed.run for listed in list_runs(store, 1.0)] == ["run"]


def test_no_other_attempts_are_taken_back(store: Store) -> None:
    left = [("run", 1), ("run", 11), ("run-a0001-x", 1), ("run-a0001", 1)]
    urls = [key_link.hand_over(store, *whose, KEYS, 60) for whose in left]
    key_link.revoke(store, "run", 1)
    assert len(list(store.list("_keys/"))) == 3
    assert fetched(urls[0]) == b""
    assert all(fetched(url) for url in urls[1:])


def test_what_is_no_link(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="needs no keys"):
        key_link.hand_over(open_store(tmp_path.as_uri()), "run", 1, KEYS, 60)
    for seconds in (0.0, 8 * 86400.0, float("nan")):
        with pytest.raises(BadInput, match="1 s to 7 days"):
            key_link.hand_over(store, "run", 1, KEYS, seconds)
    assert list(store.list("_keys/")) == []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its folder for what is temporary; the laptop's keys are not there."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def start(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], dict[str, str]]:
    found: list[Any] = []

    def become(program: str, words: list[str], run: dict[str, str]) -> None:
        found.extend((words, run))
        raise Became

    with monkeypatch.context() as there:
        for name in list(os.environ):
            if name.startswith("AWS_"):
                there.delenv(name)
        with pytest.raises(Became):
            bootstrap.main([], env, become, pauses=())
    return found[0], found[1]


def test_a_machine_takes_its_keys_once(
    store: Store, machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = key_link.hand_over(store, "run", 1, KEYS, 7200)
    spec = AttemptSpec(store.url, "run", 1, env=KEYS.environment())
    what = container.of(store, spec, url, None)
    env = dict(what.env)
    words, run = start(env, monkeypatch)
    assert words[1:] == ["-m", "mimir.worker", *spec.worker_options()]
    file = Path(run["MIMIR_CREDENTIALS_FILE"])
    assert file.read_text() == KEYS.text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.is_relative_to(machine)
    assert list(store.list("_keys/")) == []
    # Requests are signed for the region that the laptop knows and the URL does not say.
    assert run["AWS_DEFAULT_REGION"] == "eu-north-1"
    assert fetched(url) == b""

    shown = repr(what) + capsys.readouterr().out + "".join(f"{k}={v}" for k, v in run.items())
    assert not [s for s in ("planted", "laptops-own-secret") if s in shown]
    assert start(env, monkeypatch) == (words, run), "a restart starts from what is there"

    file.unlink()
    with pytest.raises(SystemExit) as ended:
        bootstrap.main([], env, pauses=())
    assert ended.value.code == 75
    said = capsys.readouterr().out
    assert "link to this machine's keys is dead" in said
    assert "http" not in said


def test_a_link_that_stays_is_no_matter(
    store: Store, machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = key_link.hand_over(store, "run", 1, KEYS, 7200)
    env = dict(container.of(store, AttemptSpec(store.url, "run", 1), url, None).env)
    real = bootstrap._bucket

    def refusing(environ: Any, key: str) -> Any:
        client, place = real(environ, key)
        return client, {**place, "Bucket": "nobodys"} if key.startswith("_keys") else place

    monkeypatch.setattr(bootstrap, "_bucket", refusing)
    start(env, monkeypatch)
    assert "lives until it expires (NoSuchBucket)" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"SecretAccessKey": ""}', b"\xff"])
def test_what_is_no_keys(
    store: Store, machine: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    url = key_link.hand_over(store, "run", 1, KEYS, 7200)
    (key,) = store.list("_keys/run/")
    store.put(key, content)
    env = dict(container.of(store, AttemptSpec(store.url, "run", 1), url, None).env)
    with pytest.raises(SystemExit) as ended:
        bootstrap.main([], env, pauses=())
    assert ended.value.code == 75
    assert "keys" in capsys.readouterr().out
    assert not list(machine.rglob("keys.json"))
    assert json.loads(env["MIMIR_WORKER"])[-1] == "1"


def test_a_network_that_comes_up_late(
    machine: Path, capsys: pytest.CaptureFixture[str], store: Store
) -> None:
    spec = AttemptSpec(store.url, "run", 1)
    env = dict(container.of(store, spec, "http://127.0.0.1:9/_keys/run/x", None).env)
    with pytest.raises(SystemExit) as ended:
        bootstrap.main([], env, pauses=(0.0, 0.0))
    assert ended.value.code == 75
    assert "cannot fetch this machine's keys (URLError)" in capsys.readouterr().out


def test_what_a_machine_starts_is_left_in_the_store(
    store: Store, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a real shell: fetched once by its digest, and started again when the link is dead."""
    keys = key_link.hand_over(store, "run", 1, KEYS, 7200)
    told = {"MIMIR_KEYS_URL": keys, "LONG": "x" * 300, "SHORT": "here", "MIMIR_RUN": "run"}
    whole = ContainerSpec("image", ("sh", "-c", "echo $SHORT $MIMIR_RUN ${#LONG} $WHOSE"), told)
    small = by_link.of(store, "run", 1, whole)
    assert all(len(f"{name}={value}") <= 256 for name, value in small.env.items())
    assert (small.env["SHORT"], small.env["MIMIR_RUN"]) == ("here", "run")
    assert keys not in str(small.env)
    assert sum(map(len, small.command)) < 1600
    link = by_link.link_in(small.env)
    assert fetched(link)
    env = {"PATH": os.environ["PATH"], "TMPDIR": str(machine), **small.env, "WHOSE": "its own"}

    def shown() -> str:
        done = subprocess.run(
            list(small.command), env=env, capture_output=True, text=True, timeout=LIMIT
        )
        return done.stdout + done.stderr

    assert shown() == "here run 300 its own\n"
    assert {stat.S_IMODE(path.stat().st_mode) for path in machine.glob("mimir-*")} == {0o600}
    key_link.revoke(store, "run", 1)
    assert fetched(link) == b""
    assert shown() == "here run 300 its own\n"


def test_a_machine_forgets_both_of_its_links(
    store: Store, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = AttemptSpec(store.url, "run", 1, env=KEYS.environment())
    whole = container.of(store, spec, key_link.hand_over(store, "run", 1, KEYS, 7200), None)
    small = by_link.of(store, "run", 1, whole)
    assert len(list(store.list("_keys/"))) == 2
    start({**whole.env, **small.env}, monkeypatch)
    assert list(store.list("_keys/")) == []


def test_a_webhooks_address_is_in_the_order_and_not_in_the_store(store: Store) -> None:
    whole = ContainerSpec("image", ("sh",), {webhook.FROM_MACHINE: "https://hook.test/secret"})
    small = by_link.of(store, "run", 1, whole)
    assert small.env[webhook.FROM_MACHINE] == "https://hook.test/secret"
    assert b"hook.test" not in fetched(by_link.link_in(small.env))


@pytest.mark.parametrize("name", ["MIMIR_END", webhook.FROM_MACHINE])
def test_a_variable_that_must_be_there_at_once_is_never_too_long(store: Store, name: str) -> None:
    whole = ContainerSpec("image", ("sh",), {name: "x" * 250})
    with pytest.raises(BadInput, match=r"has more than the 2.. characters that an order takes"):
        by_link.of(store, "run", 1, whole)
