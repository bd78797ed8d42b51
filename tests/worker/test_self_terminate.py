"""A machine's request to be ended: what is sent where, how often, and what is said of it."""

import ast
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from mimir.runs import notes
from mimir.runs.store import open_store
from mimir.worker import self_terminate


class Over(Exception):
    """The sleep of a test has come to its end."""


class Server:
    """Answers with these codes in turn, the last one for ever; what it was asked is in asked."""

    def __init__(self) -> None:
        self.codes = [200]
        self.asked: list[tuple[str, str, str | None]] = []
        self.url = ""


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_DELETE(self) -> None:
            found.asked.append((self.command, self.path, self.headers["Authorization"]))
            self.send_response(found.codes.pop(0) if len(found.codes) > 1 else found.codes[0])
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_DELETE

        def log_message(self, *_: object) -> None:
            pass

    made = HTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{made.server_port}"
    thread = threading.Thread(target=made.serve_forever, args=(0.02,))
    thread.start()
    yield found
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def environ(url: str, method: str = "DELETE", **more: str) -> dict[str, str]:
    told = {"method": method, "url": url + "/{ID}/", "token": "KEY", "body": None}
    return {"MIMIR_END": json.dumps(told), "ID": "7", "KEY": "planted", **more}


def slept(times: int) -> tuple[list[float], Callable[[float], None]]:
    """A sleep that takes no time, and ends the test when it is asked for once more."""
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > times:
            raise Over

    return pauses, sleep


def test_it_asks_again_until_it_is_heard(server: Server) -> None:
    server.codes = [500, 429, 403, 204]
    pauses, sleep = slept(99)
    assert self_terminate.end(environ(server.url), sleep) == ""
    assert server.asked == [("DELETE", "/7/", "Bearer planted")] * 4
    assert pauses == [2.0, 4.0, 8.0]


@pytest.mark.parametrize(("code", "why"), [(404, ""), (410, ""), (403, "403"), (500, "500")])
def test_what_is_heard(server: Server, code: int, why: str) -> None:
    server.codes = [code]
    pauses, sleep = slept(99)
    said = self_terminate.end(environ(server.url), sleep)
    assert bool(said) == bool(why)
    assert why in said
    assert sum(pauses) == (pytest.approx(self_terminate.TIMEOUT) if why else 0)


def test_the_token_goes_nowhere_else(server: Server) -> None:
    server.codes = [302]  # which urllib would follow, token and all
    assert "302" in self_terminate.end(environ(server.url, "POST"), slept(99)[1])
    assert {path for _, path, _ in server.asked} == {"/7/"}
    far = environ("http://203.0.113.1")
    assert "is not a request" in self_terminate.end(far, slept(0)[1])
    near = environ("http://127.0.0.1.example.org")
    assert "is not a request" in self_terminate.end(near, slept(0)[1])


@pytest.mark.parametrize("lacking", ["ID", "KEY"])
def test_a_variable_that_is_not_there(server: Server, lacking: str) -> None:
    given = environ(server.url)
    del given[lacking]
    assert self_terminate.end(given, slept(0)[1]) == f"it has no variable {lacking}"
    assert server.asked == []


@pytest.mark.parametrize("told", ["", "no json", "[]", '{"url": 3, "method": "GET"}'])
def test_what_is_no_request(told: str) -> None:
    assert "is not a request" in self_terminate.end({"MIMIR_END": told}, slept(0)[1])


def test_nobody_there() -> None:
    said = self_terminate.end(environ("http://127.0.0.1:9"), slept(99)[1])
    assert said.startswith("the service does not answer")
    assert "planted" not in said


def test_a_machine_that_lives_on_is_written_down_once(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(tmp_path.as_uri())
    given = environ(server.url, MIMIR_STORE=store.url, MIMIR_RUN="run", MIMIR_ATTEMPT="2")
    pauses, sleep = slept(4)
    with pytest.raises(Over):
        self_terminate.main(0, given, sleep)
    assert pauses == [self_terminate.BETWEEN] * 5
    assert len(server.asked) == 3
    found = notes.read_unended(store, "run", 2)
    assert found is not None
    assert "it still runs 600 s later" in found.reason
    assert capsys.readouterr().out.count("may still cost money") == 1


def test_a_store_that_cannot_be_written_changes_nothing(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.codes = [403]
    with pytest.raises(Over):
        self_terminate.main(0, environ(server.url, MIMIR_END_PATIENCE="0"), slept(20)[1])
    out = capsys.readouterr().out
    assert "that is not written into the store (KeyError)" in out
    assert "planted" not in out
    assert len(server.asked) > 8, "it gave up"


def test_where_no_machine_ends_itself() -> None:
    assert self_terminate.main(75, {}, slept(0)[1]) == 75


def test_sigterm_ends_it_with_the_workers_code(server: Server) -> None:
    def sleep(seconds: float) -> None:
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as ended:
        self_terminate.main(76, environ(server.url), sleep)
    assert ended.value.code == 76


def test_its_text_needs_nothing_that_an_image_may_lack() -> None:
    tree = ast.parse(Path(self_terminate.__file__).read_text())
    names = {
        name.split(".")[0]
        for node in tree.body
        for name in (
            [each.name for each in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    assert names
    assert names <= sys.stdlib_module_names
