"""`make live PROVIDER=colab`, with a `colab` that answers as recorded."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mimir.runs.store import Store, open_store
from tests import ROOT
from tests.clouds.e2e.test_live import HURRIED, SCRIPT
from tests.colab.bucket import Bucket
from tests.colab.computer import SECRET, Place
from tests.colab.conftest import KEYS
from tests.e2e import jobs
from tests.waiting import LIMIT, wait_for


@pytest.fixture
def store(server: Bucket, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in {**KEYS, "AWS_ENDPOINT_URL_STS": server.url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return open_store(f"s3://runs/live?endpoint={server.url}&region=us-east-1")


@pytest.mark.long
def test_its_session_is_ended(place: Place, store: Store) -> None:
    """The worker is the real one, in the cell; it is interrupted while it trains."""
    role = ["--role", "arn:aws:iam::123456789012:role/mimir"]
    data = ["--data", str(jobs.write_data(place.folder / "data.csv", 60))]
    tiny = {**jobs.TINY, **jobs.ENDLESS, "device": "cpu"}
    settings = [word for k, v in tiny.items() for word in (f"--{k.replace('_', '-')}", str(v))]
    env = {
        **os.environ, "MIMIR_STORE": store.url, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, HURRIED, str(place.folder), "--provider=colab",
         f"--options={shlex.join([*role, *data, *settings])}"],
        cwd=ROOT, text=True, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    heartbeat = "/a0001/heartbeat.json"
    wait_for(lambda: any(key.endswith(heartbeat) for key in store.list("")), "its first sign")
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, said
    assert "is left; see for yourself" in said
    (path,) = (place.folder / "build" / "live").glob("colab-*.txt")
    assert [secret for secret in (SECRET, *KEYS.values()) if secret in path.read_text()] == []
    assert place.endpoints == []
