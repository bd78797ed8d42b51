"""Downloads proteins from UniProt's REST service, whole or not at all, with a record beside them.

    GET /uniprotkb/search?query=…&format=list&size=1             X-Total-Results: how many proteins
    GET /uniprotkb/stream?query=…&format=fasta&compressed=true   all of them, as gzip

https://www.uniprot.org/help/api_queries. Answers carry X-UniProt-Release. Tested against a server
on loopback that follows these pages, never against the service itself.
"""

import hashlib
import json
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from mimir import atomic_file
from mimir.atomic_file import OutFile
from mimir.connections import to_mend
from mimir.console import bar
from mimir.errors import BadInput, ServiceError
from mimir.text import first_line, moment, one_line

SERVICE = "https://rest.uniprot.org"
LICENCE = "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/"
ATTRIBUTION = "The UniProt Consortium, https://www.uniprot.org"
RECORD = ".source.json"
"""Ending of the record, after the file's name."""
PART = ".part"
"""Ending of what has arrived of a file, and with RECORD of what it is a part of."""
BESIDE = (RECORD, PART, PART + RECORD)
"""Endings of all that is written beside a file."""
TRIES = 5
LONGEST_WAIT = 60.0
"""Seconds between two tries, whatever the service asks for."""
MOST_BYTES = 8 << 30
"""Of a download. All of Swiss-Prot is under 100 MB as gzip."""
MOST_REFUSAL = 64 << 10
"""Bytes of a refusal that are read for what it says."""
AT_ONCE = 1 << 20
"""Bytes that are unpacked at once: a piece of gzip may hold a thousand times its size."""
_WITHIN = httpx.Timeout(30.0, read=180.0)  # the first byte of a large answer takes a while
_PROTEOME = re.compile(r"UP[0-9]{9,11}")


@dataclass(frozen=True)
class Source:
    """Where a file of proteins comes from, as its record says."""

    query: str
    url: str
    release: str
    release_date: str
    licence: str
    attribution: str
    proteins: int
    bytes: int
    sha256: str
    fetched: str


class _Passing(Exception):
    """What went wrong, in words; trying again may help. wait: seconds that the service asks for."""

    def __init__(self, what: str, wait: float = 0.0) -> None:
        super().__init__(what)
        self.wait = wait


def query_of(
    proteome: str = "", organism: str = "", query: str = "", reviewed: bool = False
) -> str:
    """The query for one of the three, in UniProt's language. BadInput for none or several."""
    if sum(map(bool, (proteome, organism, query))) != 1:
        raise BadInput("give one of --proteome, --organism and --query")
    if proteome and not _PROTEOME.fullmatch(proteome):
        raise BadInput(
            f"proteome is {proteome!r}, but must be an ID such as UP000005640; find it at "
            "https://www.uniprot.org/proteomes"
        )
    if organism and not organism.isdecimal():
        raise BadInput(
            f"organism is {organism!r}, but must be the number of a taxon, such as 9606 for human"
        )
    found = query or (f"(proteome:{proteome})" if proteome else f"(organism_id:{organism})")
    return f"({found}) AND (reviewed:true)" if reviewed else found


def fetch(
    query: str,
    out: OutFile,
    service: str = SERVICE,
    sleep: Callable[[float], object] = time.sleep,
    tell: Callable[[str], object] = lambda sentence: None,
) -> Source:
    """Download all proteins of a query as gzipped FASTA, and write their record beside them.

    What arrives lies in a `.part` file, and takes the name `out` when it is complete: when the gzip
    ends as it should, and holds as many proteins as the service counts. A later try, of this call
    or of another, goes on with the part if the service gave an ETag and has the same answer still.

    Args:
        out: made with `BESIDE`.
        sleep: waits so many seconds before another try.
        tell: is given a sentence on each try that failed.

    Raises:
        BadInput: the service refuses the query, or knows no protein for it; its address is none;
            or the file cannot be written.
        ServiceError: the service cannot be reached, or does not give the whole answer.
    """
    url = httpx.URL(service)
    if url.scheme not in ("http", "https") or not url.host:
        raise BadInput(f"--service is {service!r}, but must be https://HOST")
    with httpx.Client(base_url=url, timeout=_WITHIN, follow_redirects=True) as client:
        download = _Download(client, query, out.path)
        for number in range(1, TRIES + 1):
            try:
                return download.go_on()
            except OSError as error:
                raise BadInput(f"cannot write {out.path}: {error.strerror or error}") from error
            except _Passing as error:
                if number == TRIES:
                    raise ServiceError(
                        f"{url.host} did not give the proteins in {TRIES} tries: {error}; try "
                        "again later"
                    ) from None
                pause = min(LONGEST_WAIT, max(2.0 ** (number - 1), error.wait))
                tell(f"{error}; another try in {pause:.0f} s")
            sleep(pause)
    raise AssertionError("the last try returns or raises")


class _Download:
    def __init__(self, client: httpx.Client, query: str, out: Path) -> None:
        self._client = client
        self._host = client.base_url.host
        self._query = query
        self._out = out
        self._part = atomic_file.beside_of(out, PART)
        self._about = atomic_file.beside_of(out, PART + RECORD)

    def go_on(self) -> Source:
        """One try. Raises _Passing where another may help, and OSError."""
        proteins = self._count()
        had, tag = self._resumable()
        headers = {"Range": f"bytes={had}-", "If-Range": tag} if had else {}
        words = {"format": "fasta", "compressed": "true"}
        seen = _Fasta()
        with self._answer("stream", words, headers) as answer:
            goes_on = answer.status_code == 206
            if goes_on and not answer.headers.get("content-range", "").startswith(f"bytes {had}-"):
                self._forget()
                raise _Passing(f"{self._host} sent another part than the one asked for")
            about = {"query": self._query, "etag": answer.headers.get("etag", "")}
            atomic_file.write(self._about, json.dumps(about).encode())
            with (
                self._part.open("rb+" if goes_on else "wb") as file,
                bar("fetch", proteins, "protein") as advance,
            ):
                while goes_on and (block := file.read(1 << 20)):
                    advance(seen.feed(block))
                for chunk in answer.iter_raw():
                    file.write(chunk)
                    advance(seen.feed(chunk))
                    if seen.bytes > MOST_BYTES:
                        raise BadInput(f"the answer to {self._query} is above {MOST_BYTES:,} bytes")
                file.flush()
                os.fsync(file.fileno())
        if wrong := seen.wrong(proteins):
            if not seen.broke_off:
                self._forget()
            raise _Passing(wrong)
        source = Source(
            query=self._query, url=str(answer.url), licence=LICENCE, attribution=ATTRIBUTION,
            release=one_line(answer.headers.get("x-uniprot-release", "")),
            release_date=one_line(answer.headers.get("x-uniprot-release-date", "")),
            proteins=seen.proteins, bytes=seen.bytes, sha256=seen.digest.hexdigest(),
            fetched=moment(time.time()),
        )  # fmt: skip
        record = json.dumps(asdict(source), indent=2) + "\n"
        atomic_file.write(atomic_file.beside_of(self._out, RECORD), record.encode())
        os.replace(self._part, self._out)
        self._forget()
        return source

    def _count(self) -> int:
        """How many proteins the query has; 0 if the service does not say."""
        with self._answer("search", {"format": "list", "size": "1"}, {}) as found:
            total = found.headers.get("x-total-results", "")
        if total == "0":
            raise BadInput(
                f"UniProt has no protein for {self._query}; proteomes are listed at "
                "https://www.uniprot.org/proteomes"
            )
        return int(total) if re.fullmatch("[0-9]{1,12}", total) else 0

    def _resumable(self) -> tuple[int, str]:
        """How many bytes are here of which answer (its ETag); 0 if they cannot be gone on with."""
        try:
            about = json.loads(self._about.read_bytes())
            size = self._part.stat().st_size
        except (OSError, ValueError):
            return 0, ""
        known = isinstance(about, dict) and about.get("query") == self._query
        tag = about.get("etag") if known else ""
        return (size, tag) if size and isinstance(tag, str) and tag else (0, "")

    def _forget(self) -> None:
        for path in (self._part, self._about):
            path.unlink(missing_ok=True)

    @contextmanager
    def _answer(
        self, path: str, words: dict[str, str], headers: dict[str, str]
    ) -> Iterator[httpx.Response]:
        sent = {"Accept-Encoding": "identity", "User-Agent": "mimir", **headers}
        params = {"query": self._query, **words}
        try:
            with self._client.stream(
                "GET", f"/uniprotkb/{path}", params=params, headers=sent
            ) as answer:
                self._check(answer)
                yield answer
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            if mend := to_mend(error, self._host):
                raise BadInput(f"cannot reach {self._host}: {mend}") from error
            raise _Passing(f"{self._host} cannot be reached ({first_line(error)})") from error
        except httpx.HTTPError as error:
            what = first_line(error) or type(error).__name__
            raise _Passing(f"the answer of {self._host} broke off ({what})") from error

    def _check(self, answer: httpx.Response) -> None:
        code = answer.status_code
        if code in (200, 206):
            return
        if code == 416:
            self._forget()
        if code in (408, 416, 429) or code >= 500:
            asked = answer.headers.get("retry-after", "")
            raise _Passing(f"{self._host} answers {code}", float(asked) if asked.isdecimal() else 0)
        body = next(answer.iter_raw(MOST_REFUSAL), b"")
        try:
            said = "; ".join(map(str, json.loads(body)["messages"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            said = body.decode(errors="replace")
        raise BadInput(
            f"{self._host} refuses the query {self._query} ({code}): {one_line(said)[:300]}"
        )


class _Fasta:
    """Counts the proteins of a gzipped FASTA file that comes in pieces."""

    def __init__(self) -> None:
        self.bytes = 0
        self.proteins = 0
        self.digest = hashlib.sha256()
        self.broke_off = False
        self._damaged = False
        self._last = b"\n"
        self._gzip = zlib.decompressobj(wbits=31)

    def feed(self, piece: bytes) -> int:
        """The proteins that begin in it."""
        self.bytes += len(piece)
        self.digest.update(piece)
        before = self.proteins
        while piece and not self._damaged:
            try:
                text = self._gzip.decompress(piece, AT_ONCE)
            except zlib.error:
                self._damaged = True
                break
            self.proteins += (self._last + text).count(b"\n>")
            self._last = text[-1:] or self._last
            piece = self._gzip.unconsumed_tail
            if self._gzip.eof and (piece := self._gzip.unused_data):
                self._gzip = zlib.decompressobj(wbits=31)  # gzip may have several members
        return self.proteins - before

    def wrong(self, proteins: int) -> str:
        """What is wrong with all of it, "" if nothing is. proteins: that should be there; or 0."""
        self.broke_off = not self._damaged and not self._gzip.eof
        if self._damaged:
            return "the answer is no gzip, or is damaged"
        if self.broke_off:
            return f"the answer broke off after {self.bytes:,} bytes"
        if not self.proteins:
            return "the answer holds no protein"
        if proteins not in (0, self.proteins):
            return f"the answer holds {self.proteins:,} proteins, not {proteins:,}"
        return ""
