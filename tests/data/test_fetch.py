"""Downloads from a server on loopback that follows UniProt's pages, not from UniProt."""

import gzip
import hashlib
import io
import json
import threading
import tracemalloc
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mimir.atomic_file import OutFile
from mimir.data import commands, uniprot
from mimir.data.proteins import read_fasta
from mimir.errors import BadInput, MimirError, ServiceError
from tests.data.conftest import protein

FASTA = "".join(
    f">sp|P{number:05d}|X_HUMAN Protein OS=Homo sapiens\n{protein(number, 300)}\n"
    for number in range(50)
).encode()
BODY = gzip.compress(FASTA[:9000], mtime=0) + gzip.compress(FASTA[9000:], mtime=0)
TAG = {"ETag": '"v1"'}


@dataclass
class Answer:
    """cut: bytes of the body after which the connection is closed."""

    status: int = 200
    body: bytes = BODY
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


class Service(ThreadingHTTPServer):
    """Gives the answers one by one, the last one for ever; `asked` are (path, query, headers)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = [Answer()]
        self.total = "50"
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.waits: list[float] = []
        self.said: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def ranges(self) -> list[str]:
        """Of the requests for proteins."""
        return [head.get("range", "") for path, _, head in self.asked if path.endswith("stream")]

    def fetch(self, out: Path, query: str = "(proteome:UP000005640)") -> uniprot.Source:
        target = OutFile(str(out), beside=uniprot.BESIDE)
        return uniprot.fetch(query, target, self.url, self.waits.append, self.said.append)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        words = dict(urllib.parse.parse_qsl(url.query))
        head = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((url.path, words, head))
        if url.path.endswith("/search"):
            answer = Answer(body=b"P00001\n", headers={"X-Total-Results": self.server.total})
        else:
            answers = self.server.answers
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        body, status, more = answer.body, answer.status, dict(answer.headers)
        if status == 200 and head.get("if-range", "-") == answer.headers.get("ETag"):
            first = int(head["range"].removeprefix("bytes=").removesuffix("-"))
            more["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
            body, status = body[first:], 206
        self.send_response(status)
        for name, value in {"X-UniProt-Release": "2026_04", **more}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: answer.cut])
        if answer.cut is not None:
            self.close_connection = True


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_proteins_and_their_record(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "human.fasta.gz"
    commands.fetch(proteome="UP000005640", reviewed=True, out=str(out), service=service.url)
    assert out.read_bytes() == BODY
    assert len(read_fasta(out)) == 50
    assert {path.name for path in tmp_path.iterdir()} == {out.name, out.name + ".source.json"}
    record = json.loads((tmp_path / "human.fasta.gz.source.json").read_text())
    assert record["sha256"] == hashlib.sha256(BODY).hexdigest()
    assert (record["proteins"], record["bytes"], record["release"]) == (50, len(BODY), "2026_04")
    assert record["licence"].startswith("CC BY 4.0")
    assert "UniProt Consortium" in record["attribution"]
    (search, _, _), (stream, words, _) = service.asked
    assert (search, stream) == ("/uniprotkb/search", "/uniprotkb/stream")
    assert words == {
        "query": "((proteome:UP000005640)) AND (reviewed:true)",
        "format": "fasta", "compressed": "true",
    }  # fmt: skip
    said = capsys.readouterr().out
    assert "50 proteins" in said
    assert "release     2026_04" in said
    commands.fetch(query="x", out=str(out), service=service.url, json=True)
    assert json.loads(capsys.readouterr().out)["query"] == "x"


def test_what_passes_is_tried_again(service: Service, tmp_path: Path) -> None:
    busy = Answer(503, b"", {"Retry-After": "7"})
    service.answers = [Answer(500, b""), busy, Answer(429, b"", {"Retry-After": "9999"}), Answer()]
    assert service.fetch(tmp_path / "a").proteins == 50
    assert service.waits == [1, 7, uniprot.LONGEST_WAIT]
    assert service.said[1] == "127.0.0.1 answers 503; another try in 7 s"


def test_a_body_that_broke_off_is_gone_on_with(service: Service, tmp_path: Path) -> None:
    cut = [Answer(headers=TAG, cut=1000), Answer(headers=TAG, cut=1500), Answer(headers=TAG)]
    service.answers = cut
    assert service.fetch(tmp_path / "a").sha256 == hashlib.sha256(BODY).hexdigest()
    assert service.ranges == ["", "bytes=1000-", "bytes=2500-"]
    tags = [head.get("if-range") for path, _, head in service.asked if path.endswith("stream")]
    assert tags == [None, TAG["ETag"], TAG["ETag"]]
    assert (tmp_path / "a").read_bytes() == BODY


def test_a_later_call_goes_on_with_the_same_answer_only(service: Service, tmp_path: Path) -> None:
    service.answers = [Answer(headers=TAG, cut=1000), *[Answer(503, b"")] * uniprot.TRIES]
    with pytest.raises(ServiceError):
        service.fetch(tmp_path / "a")
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(path.name for path in kept) == ["a.part", "a.part.source.json"]
    for query, tag, wanted in (
        ("(proteome:UP000005640)", TAG, "bytes=1000-"),
        ("(proteome:UP000005640)", {"ETag": '"v2"'}, "bytes=1000-"),  # answered with 200
        ("(organism_id:9606)", TAG, ""),
    ):
        for path, content in kept.items():
            path.write_bytes(content)
        service.answers, service.asked = [Answer(headers=tag)], []
        service.fetch(tmp_path / "a", query)
        assert service.ranges == [wanted]
        assert (tmp_path / "a").read_bytes() == BODY


def test_without_an_etag_it_begins_again(service: Service, tmp_path: Path) -> None:
    service.answers = [Answer(cut=1000), Answer()]
    service.fetch(tmp_path / "a")
    assert service.ranges == ["", ""]


@pytest.mark.parametrize(("answer", "total", "kind", "says"), [
    (Answer(), "0", BadInput, "UniProt has no protein for (proteome:UP000005640)"),
    (Answer(400, b'{"messages": ["bad\\u001b query"]}'), "50", BadInput,
     "127.0.0.1 refuses the query (proteome:UP000005640) (400): bad\\u001b query"),
    (Answer(404, b"<html>"), "50", BadInput, "(404): <html>"),
    (Answer(503, b""), "50", ServiceError,
     "127.0.0.1 did not give the proteins in 5 tries: 127.0.0.1 answers 503; try again later"),
    (Answer(cut=1000), "50", ServiceError, "the answer of 127.0.0.1 broke off"),
    (Answer(body=BODY[:1000]), "50", ServiceError, "the answer broke off after 1,000 bytes"),
    (Answer(body=BODY[:1000], headers=TAG), "50", ServiceError, "answer"),
    (Answer(body=b"<html>Log in"), "50", ServiceError, "is no gzip, or is damaged"),
    (Answer(body=BODY[:1000] + BODY[1001:]), "50", ServiceError, "is no gzip, or is damaged"),
    (Answer(), "51", ServiceError, "the answer holds 50 proteins, not 51"),
    (Answer(body=gzip.compress(b"")), "", ServiceError, "the answer holds no protein"),
])  # fmt: skip
def test_what_cannot_be_had_is_one_sentence(
    service: Service, tmp_path: Path, answer: Answer, total: str, kind: type[MimirError], says: str
) -> None:
    service.answers, service.total = [answer], total
    with pytest.raises(kind) as caught:
        service.fetch(tmp_path / "a")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "a.source.json").exists()


@pytest.mark.parametrize("size", [1, 7, 1000, len(BODY)])
@pytest.mark.parametrize("at_once", [3, 1 << 20])
def test_proteins_are_counted_in_pieces(
    monkeypatch: pytest.MonkeyPatch, at_once: int, size: int
) -> None:
    monkeypatch.setattr(uniprot, "AT_ONCE", at_once)
    seen = uniprot._Fasta()
    pieces = [BODY[at : at + size] for at in range(0, len(BODY), size)]
    assert sum(map(seen.feed, pieces)) == 50
    assert seen.wrong(50) == ""


def test_a_small_piece_that_unpacks_to_much_takes_no_memory() -> None:
    piece = gzip.compress(b">a\n" + bytes(64 << 20), 1)
    seen = uniprot._Fasta()
    tracemalloc.start()
    try:
        assert seen.feed(piece) == 1
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert seen.wrong(1) == ""


def test_a_refusal_that_is_large_is_not_read_whole(service: Service, tmp_path: Path) -> None:
    """It names more bytes than it sends: who waits for all of them sees the connection end."""
    service.answers = [Answer(400, b"no" * uniprot.MOST_REFUSAL, cut=uniprot.MOST_REFUSAL + 1)]
    with pytest.raises(BadInput, match=r"\(400\): nono"):
        service.fetch(tmp_path / "a")


def test_no_network(service: Service, tmp_path: Path) -> None:
    service.server_close()
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1 cannot be reached") as caught:
        service.fetch(tmp_path / "a")
    assert caught.value.exit_code == 75
    assert service.waits == [1, 2, 4, 8]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("words", "says"), [
    ({}, "give one of --proteome, --organism and --query"),
    ({"proteome": "UP000005640", "query": "x"}, "give one of"),
    ({"proteome": "human"}, "must be an ID such as UP000005640"),
    ({"organism": "human"}, "must be the number of a taxon"),
    ({"organism": "9606", "service": "uniprot.org"}, "--service is 'uniprot.org', but must be https://HOST"),
    ({"organism": "9606", "out": "-"}, "give --out a file"),
    ({"organism": "9606", "out": "/none/a"}, "there is no folder /none"),
])  # fmt: skip
def test_bad_words(words: dict[str, str], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        commands.fetch(**words)  # type: ignore[arg-type]


def test_a_disk_that_is_full(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(uniprot.os, "fsync", full)
    with pytest.raises(BadInput, match=r"cannot write .*: No space left on device"):
        service.fetch(tmp_path / "a")


def test_build_reads_it(service: Service, tmp_path: Path) -> None:
    from mimir.data.build import build

    service.fetch(tmp_path / "a.fasta.gz")
    pairs = tmp_path / "p.csv"
    pairs.write_text("sequence,target\nACDEFGHIK,P00001\n")
    out = tmp_path / "d.csv"
    info = build(tmp_path / "a.fasta.gz", None, pairs, out, rows=100, progress=io.StringIO())
    assert (info.human, info.viral, info.proteins) == (99, 0, 50)
    assert info.sequences == 1  # the target is found by the accession in UniProt's header
