"""AWS's interruption bands: read, kept for a day, and told with their date."""

import contextlib
import math
import socketserver
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch.contract import state
from launch.contract.offer import Need, Offer
from launch.contract.redaction import Secrets
from launch.pricing import evictions
from launch.providers.aws import bands
from launch.providers.aws.adapter import Aws
from launch.providers.aws.bands import Bands
from tests.clouds.fake_aws import FakeAws, advisor
from tests.waiting import unless_it_hangs


def spot(cloud: Aws, type: str) -> Offer:
    return next(o for o in cloud.offers(Need(spot=True)) if o.spot and o.key["type"] == type)


def read(service: FakeAws, *, now: float = 1.8e9, folder: Path | None = None) -> Bands:
    return bands.read(service.url, Secrets(), folder=folder, now=lambda: now)


def test_an_offer_bears_the_rate_of_its_band(cloud: Aws) -> None:
    offer = spot(cloud, "g6.xlarge")
    # 12.5 % of the machines within 24 h
    assert offer.evicted == pytest.approx(-math.log(0.875) / 24)
    found = evictions.of(offer, 3.0, 0.1, 1 / 30, {})
    assert found.an_hour == pytest.approx((offer.evicted or 0) + (offer.outbid or 0))
    assert found.source.startswith("AWS's interruption band 10-15% of 2026-11-27")
    assert all(o.evicted is None and not o.evicted_by for o in cloud.offers(Need()))


def test_a_type_without_a_band_is_guessed_and_said(cloud: Aws) -> None:
    offer = spot(cloud, "g5.xlarge")
    found = evictions.of(offer, 3.0, 0.1, 1 / 30, {})
    assert found.an_hour == pytest.approx(1 / evictions.GUESS)
    assert found.source.startswith(
        "a guess, as AWS's interruption bands of 2026-11-27 do not tell g5.xlarge in us-east-1"
    )


def test_the_bands_ask_for_more_evictions_in_their_order() -> None:
    told = Bands({"r": dict(zip("abcde", range(5), strict=True))}, "2026-11-27")
    rates = [told.an_hour("r", name) or 0.0 for name in "abcde"]
    assert rates == sorted(rates)
    assert 1 / rates[0] == pytest.approx(948, rel=0.01)
    assert 1 / rates[4] == pytest.approx(26, rel=0.01)


def test_what_was_read_counts_for_a_day(service: FakeAws, tmp_path: Path) -> None:
    first = read(service, folder=tmp_path)
    service.advisor = None
    assert read(service, now=1.8e9 + 86_000, folder=tmp_path) == first
    assert service.asked == 1
    assert "the answer was 403" in read(service, now=1.8e9 + 87_000, folder=tmp_path).why
    assert read(service, now=1.8e9 - 1, folder=tmp_path).why, "kept by a clock that was ahead"
    service.advisor = advisor({"eu-west-1": {"g6.xlarge": 0}})
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:-9])
    assert read(service, folder=tmp_path).by == {"eu-west-1": {"g6.xlarge": 0}}
    assert kept.stat().st_mode & 0o077 == 0


def test_it_is_kept_in_the_state_folder_or_read_each_time(service: FakeAws, tmp_path: Path) -> None:
    read(service)
    assert (state.folder() / "aws" / "interruptions.json").is_file()
    (tmp_path / "file").touch()
    for _ in range(2):
        assert read(service, folder=tmp_path / "file").by
    assert service.asked == 3


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda file: [file], "a form that is not known"),
        (lambda file: {**file, "ranges": file["ranges"][:4]}, "its bands are '<5%, 5-10%"),
        (lambda file: advisor({"us-east-1": {"g6.xlarge": 7}}), "a band 7"),
        (lambda file: advisor({"us-east-1": {"g6.xlarge": True}}), "a band True"),  # type: ignore[dict-item]
        (lambda file: {**file, "spot_advisor": {"us-east-1": 3}}, "a form that is not known"),
        (lambda file: "<html>moved</html>", "a form that is not known"),
        (lambda file: "[" * 100_000, "recursion"),
        (lambda file: '{"ranges": [{"index": 1e999, "label": ""}]}', "a form that is not known"),
        (lambda file: {**file, "instance_types": "x" * 3000}, "has more than"),
    ],
    ids=["list", "ranges", "band", "bool", "region", "page", "deep", "infinite", "large"],
)  # fmt: skip
def test_what_cannot_be_read_leaves_the_guess_and_is_said(
    spoil: Callable[[Any], Any], why: str, service: FakeAws, cloud: Aws,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    service.advisor = spoil(service.advisor)
    if why == "has more than":
        monkeypatch.setattr(bands, "MOST", 2000)
    offer = spot(cloud, "g6.xlarge")
    found = evictions.of(offer, 3.0, 0.1, 1 / 30, {})
    assert found.an_hour == pytest.approx(1 / evictions.GUESS)
    assert found.source.startswith("a guess, as AWS's interruption bands could not be read (")
    assert why in found.source
    assert not (state.folder() / "aws").exists(), "kept what was wrong"


def test_a_date_that_cannot_be_is_that_of_the_reading(service: FakeAws) -> None:
    service.advisor_headers = {"Last-Modified": "Mon, 16 Nov 2009 13:32:02 +99999999999999"}
    assert read(service).date == "2027-01-15"


def test_a_compressed_answer_is_refused(service: FakeAws, cloud: Aws) -> None:
    service.advisor_headers = {"Content-Encoding": "gzip"}
    assert "is compressed" in spot(cloud, "g6.xlarge").evicted_by


def test_what_nobody_thought_of_is_said(service: FakeAws, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(data: bytes) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr(bands, "_parsed", fails)
    assert read(service).why == "MemoryError: no more"


@pytest.mark.parametrize(
    ("head", "piece"),
    [(b"HTTP/1.1 200 OK\r\nX: ", b"x"), (b"HTTP/1.1 200 OK\r\n\r\n", b" ")], ids=["head", "body"],
)  # fmt: skip
def test_an_answer_without_end_is_left(
    head: bytes, piece: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    class Drips(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):  # who asked has left
                self.wfile.write(head)
                while not over.wait(0.01):
                    self.wfile.write(piece)

    monkeypatch.setattr(bands, "WITHIN", 0.2)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Drips) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            found = unless_it_hangs(lambda: bands.read(url, Secrets(), folder=tmp_path))
        finally:
            over.set()
            server.shutdown()
    # A connection that takes longer than that is another failure, and also one that is said.
    assert "did not come within 0.2 s" in found.why or "Timeout" in found.why


def test_one_that_is_not_reached_is_said(tmp_path: Path) -> None:
    with FakeAws() as service:
        url = service.url
    assert "ConnectError" in bands.read(url, Secrets(), folder=tmp_path).why
