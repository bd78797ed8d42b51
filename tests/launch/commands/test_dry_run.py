"""What `submit --dry-run` imports and asks; how long it takes, bench/start.py prints."""

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from bench.start import DRY_RUN
from tests.clouds.fake_runpod import FakeRunPod
from tests.launch.conftest import World

EMPTY = (
    b'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>'
)
ABSENT = b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>'


class Bucket(http.server.BaseHTTPRequestHandler):
    """An S3 bucket without objects."""

    def do_GET(self) -> None:
        listed = "list-type=2" in self.path
        body = EMPTY if listed else ABSENT
        self.send_response(200 if listed else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def bucket() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"s3://bucket/runs?endpoint=http://127.0.0.1:{server.server_port}&region=us-east-1"
        server.shutdown()
        thread.join()


def test_a_dry_run_imports_no_torch_and_changes_nothing(world: World, bucket: str) -> None:
    loaded = world.folder / "loaded"
    with FakeRunPod("account-key") as fake:
        out, err = world.launch(
            *DRY_RUN, "--json", MIMIR_STORE=bucket, LOADED=str(loaded),
            RUNPOD_API_KEY="account-key", MIMIR_RUNPOD_URL=fake.url,
            AWS_ACCESS_KEY_ID="an-id", AWS_SECRET_ACCESS_KEY="a-secret",
        )  # fmt: skip
        fake.fault("unauthorized", times=9, path="/v2/pods")
        _, refused = world.launch(
            *DRY_RUN, code=78, MIMIR_STORE=bucket, LOADED="/dev/null",
            RUNPOD_API_KEY="account-key", MIMIR_RUNPOD_URL=fake.url,
            AWS_ACCESS_KEY_ID="an-id", AWS_SECRET_ACCESS_KEY="a-secret",
        )  # fmt: skip
        methods = {exchange[0] for exchange in fake.requests}
        assert (methods, fake.ledger) == ({"GET"}, [])
    names = {name.partition(".")[0] for name in loaded.read_text().split("\n")}
    assert {"boto3", "httpx", "numpy"} <= names
    assert not {"torch", "matplotlib", "tensorboard", "paramiko", "moto"} & names
    plan = json.loads(out)
    assert plan["offers"][0]["gpu"] == "RTX 4090"
    assert plan["limits"]["max_cost"] == 0.5
    assert "RTX 4090" in err
    assert {"key", "balance and quota"} <= {
        check["name"].removeprefix("runpod ") for check in plan["checks"]
    }
    assert plan["hosts"]["kind"] == ""
    assert 0 < plan["storage_gb"] < 1
    assert plan["left_out"] == []
    assert "fail      runpod key: " in refused
    assert "nothing was ordered" in refused
