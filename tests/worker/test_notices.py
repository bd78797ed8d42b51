"""A cloud's notice that it takes a machine away, as the worker sees it."""

import threading
from collections.abc import Iterator

import pytest

from mimir.worker import notices
from tests.clouds.server import Answer, Request, Server
from tests.waiting import unless_it_hangs, wait_for


class Metadata:
    """A metadata server. said: path -> what it answers; all else is 404."""

    def __init__(self) -> None:
        self.said: dict[str, Answer] = {}
        self.asked: list[Request] = []
        self.server = Server(self._answer)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.host = f"127.0.0.1:{self.server.server_address[1]}"

    def _answer(self, request: Request) -> Answer:
        self.asked.append(request)
        return self.said.get(request.path, Answer(404, "no", content_type="text/plain"))


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    monkeypatch.setattr(notices, "EVERY", 0.02)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    made = Metadata()
    yield made
    made.server.shutdown()
    made.server.server_close()


def watching(kind: str, host: str) -> tuple[list[str], list[str], list[str]]:
    """(why it goes, that it may go, warnings) of a watch that has begun."""
    taken: list[str] = []
    risks: list[str] = []
    warned: list[str] = []
    environ = {
        "MIMIR_NOTICES": kind, "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{host}",
        "GCE_METADATA_HOST": host,
    }  # fmt: skip
    watch = notices.Notices(taken.append, risks.append, warned.append, environ)
    thread = threading.Thread(target=watch.watch, args=(threading.Event(),), daemon=True)
    thread.start()
    return taken, risks, warned


SPOT = "/latest/meta-data/spot/instance-action"
ADVICE = "/latest/meta-data/events/recommendations/rebalance"
GOOGLE = "/computeMetadata/v1/instance/preempted"


def test_aws_tells_two_minutes_before(metadata: Metadata) -> None:
    metadata.said["/latest/api/token"] = Answer(200, "t0k", content_type="text/plain")
    taken, risks, warned = watching("aws", metadata.host)
    wait_for(lambda: len(metadata.asked) > 4)
    assert (taken, risks) == ([], [])
    metadata.said[ADVICE] = Answer(200, {"noticeTime": "2026-11-28T00:00:00Z"})
    wait_for(lambda: risks)
    metadata.said[SPOT] = Answer(200, {"action": "terminate", "time": "2026-11-28T00:02:00Z"})
    wait_for(lambda: taken)
    assert taken == ["AWS takes the machine away at 2026-11-28T00:02:00Z (terminate)"]
    assert (len(risks), warned) == (1, [])
    assert metadata.asked[0].method == "PUT"
    tokens = {r.headers.get("x-aws-ec2-metadata-token") for r in metadata.asked[1:]}
    assert tokens == {"t0k"}, "one token for all looks"


def test_a_token_that_ended_is_asked_for_again(metadata: Metadata) -> None:
    metadata.said["/latest/api/token"] = Answer(200, "t0k", content_type="text/plain")
    metadata.said[SPOT] = Answer(401, "no", content_type="text/plain")
    taken, _, warned = watching("aws", metadata.host)
    wait_for(lambda: sum(r.method == "PUT" for r in metadata.asked) > 2)
    assert len(warned) == 1, "said once"
    metadata.said[SPOT] = Answer(200, {"action": "stop"})
    wait_for(lambda: taken)


@pytest.mark.parametrize(
    "garbage",
    [
        Answer(7),
        Answer(200, "no size", {"Transfer-Encoding": "chunked"}),
        Answer(200, "{"),
        Answer(200, "[" * notices.MOST),
    ],
    ids=["no status", "no chunk", "no JSON", "deep"],
)
def test_garbage_ends_no_watch(metadata: Metadata, garbage: Answer) -> None:
    metadata.said["/latest/api/token"] = Answer(200, "t0k", content_type="text/plain")
    metadata.said[SPOT] = garbage
    taken, _, warned = watching("aws", metadata.host)
    wait_for(lambda: sum(r.path == SPOT for r in metadata.asked) > 2)
    assert (taken, len(warned)) == ([], 1)
    metadata.said[SPOT] = Answer(200, {"action": "stop"})
    wait_for(lambda: taken)


def test_google_tells_in_one_word(metadata: Metadata) -> None:
    metadata.said[GOOGLE] = Answer(200, "FALSE", content_type="text/plain")
    taken, _, _ = watching("gcp", metadata.host)
    wait_for(lambda: len(metadata.asked) > 2)
    assert taken == []
    metadata.said[GOOGLE] = Answer(200, "TRUE\n", content_type="text/plain")
    wait_for(lambda: taken)
    assert all(r.headers["metadata-flavor"] == "Google" for r in metadata.asked)


def test_nobody_is_asked_elsewhere(metadata: Metadata) -> None:
    taken: list[str] = []
    environ = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{metadata.host}"}
    watch = notices.Notices(taken.append, taken.append, taken.append, environ)
    unless_it_hangs(lambda: watch.watch(threading.Event()))
    assert metadata.asked == taken == []
