"""Google's own client and google-auth against the fake: each of their calls is taken."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.contract.cloud import State
from launch.providers.gcp import order
from launch.providers.gcp.adapter import Gcp
from launch.providers.gcp.token import SCOPES
from tests import ROOT
from tests.clouds import gcp_tokens
from tests.clouds.clients import CLIENTS, needs
from tests.clouds.fake_gcp import KINDS, PROJECT, STOCKOUT, FakeGcp
from tests.launch.providers.gcp.test_adapter import INSERT, NAME, SLEEP, spot
from tests.waiting import LIMIT, unless_it_hangs

pytestmark = needs("gcp")


class Program:
    """The client as a program that is asked a line at a time."""

    def __init__(self, home: Path, **environ: str) -> None:
        self.home = home
        self._program = subprocess.Popen(
            [CLIENTS["gcp"], "-m", "tests.clouds.gcp_client"], text=True, cwd=home,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={"HOME": str(home), "PATH": os.defpath, "NO_PROXY": "*", "PYTHONPATH": str(ROOT),
                 **environ},
        )  # fmt: skip

    def ask(self, url: str, *words: str) -> Any:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(json.dumps([url, *words]) + "\n")
        self._program.stdin.flush()
        line = unless_it_hangs(self._program.stdout.readline)
        assert line, f"the client ended at {words[0]}"
        found = json.loads(line)
        assert not (isinstance(found, dict) and "failed" in found), found
        return found

    def close(self) -> None:
        self._program.kill()
        self._program.communicate(timeout=LIMIT)


def key_file(path: Path, token_uri: str) -> Path:
    """A service account's, whose tokens the fake makes."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    path.write_text(json.dumps({
        "type": "service_account", "project_id": PROJECT, "private_key_id": "1",
        "private_key": text, "client_email": gcp_tokens.WHO, "token_uri": token_uri,
    }))  # fmt: skip
    return path


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    home = tmp_path_factory.mktemp("client")
    made = Program(home, GOOGLE_APPLICATION_CREDENTIALS=str(home / "key.json"))
    yield made
    made.close()


@pytest.fixture
def ask(service: FakeGcp, program: Program) -> Callable[..., Any]:
    """What Google's client answers, with a key whose tokens this fake makes."""
    key_file(program.home / "key.json", f"{service.url}/token")

    def asked(*words: str) -> Any:
        return program.ask(service.url, *words)

    return asked


def test_google_auth_makes_our_tokens(service: FakeGcp, tmp_path: Path) -> None:
    """Of a service account's key, and on a machine of Google's of its metadata server."""
    host = service.url.removeprefix("http://")
    path = key_file(tmp_path / "key.json", f"{service.url}/token")
    ways = (
        {"GOOGLE_APPLICATION_CREDENTIALS": str(path)},
        {"GCE_METADATA_HOST": host, "GCE_METADATA_IP": host},
    )
    for count, environ in enumerate(ways, 1):
        program = Program(tmp_path, **environ)
        try:
            found = program.ask(service.url, "mimir")
        finally:
            program.close()
        assert found["offers"] > 0
        assert found["checks"] == ["ok", "ok", "warn"]
        assert len(service.minted) == count, "one for all requests of a command"
        scopes = service.minted[-1].get("scope") or service.minted[-1]["scopes"]
        assert set(scopes.replace(",", " ").split()) == set(SCOPES)


def test_it_sees_and_ends_what_we_ordered(
    service: FakeGcp, cloud: Gcp, ask: Callable[..., Any]
) -> None:
    id = cloud.create(spot(cloud), SLEEP, NAME)
    _, zone, own = id.split("/")
    assert [(name, status, labels[order.LABEL]) for name, status, labels in ask("machines")] == [
        (own, "RUNNING", NAME)
    ]
    assert ask("look", zone, own)[:2] == [own, "RUNNING"]
    (service.vms[id].root / "dev/console").write_text("booting\n")
    assert "booting" in ask("console", zone, own)
    assert ask("delete", zone, own) == "DONE"
    over = cloud.get(id)
    assert over is not None
    assert (over.state, over.taken, over.said) == (State.GONE, False, "deleted")
    service.happens(id, "compute.instances.preempted")
    ((kind, link),) = ask("operations", zone, 'operationType="compute.instances.preempted"')
    assert kind == "compute.instances.preempted"
    assert link.endswith(f"/instances/{own}")


def test_we_find_and_end_what_it_ordered(
    service: FakeGcp, cloud: Gcp, ask: Callable[..., Any]
) -> None:
    """It takes the words of our own order: a field that Google's client has not is an error."""
    stock = ask("stock")
    assert stock["types"] == sorted(KINDS)
    assert stock["quotas"] == {"GPUS_ALL_REGIONS": 4}
    assert (stock["disks"], stock["image"]) == (0, 50)
    offer = spot(cloud)
    zone, body = offer.place, order.order(offer, SLEEP, NAME)
    words = (zone, body["name"], json.dumps(body), order.request_id(NAME, zone))
    service.fault("fails", code=STOCKOUT, **INSERT)
    assert ask("order", *words) == ["DONE", [STOCKOUT]]
    service.forget()
    assert ask("order", *words) == ["DONE", []]
    (found,) = cloud.instances()
    assert (found.name, found.state) == (NAME, State.RUNNING)
    assert service.ledger[0].spot
    cloud.terminate(found.id)
    assert ask("machines") == []
