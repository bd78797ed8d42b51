"""How often AWS took spot machines away lately: its spot advisor's bands, by region and type.

AWS publishes them as one public file, without a key:

    {"ranges": [{"index": 0, "label": "<5%", "max": 5}, …],
     "spot_advisor": {"us-east-1": {"Linux": {"g6.xlarge": {"s": 62, "r": 2}, …}, …}, …}}

`r` is the index of a band, `s` the saving in per cent. The form is known from public programs that
read it; not tested on the real service. What was read is kept for a day, because the file is of
some megabytes and changes slowly.
"""

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx

from launch.contract import state
from launch.contract.redaction import Secrets
from launch.providers.failures import NoAnswer, ssl_context, translate
from launch.providers.http import AGENT
from mimir import atomic_file
from mimir.errors import MimirError
from mimir.runs import codec

URL = "https://spot-bid-advisor.s3.amazonaws.com"
PATH = "/spot-advisor-data.json"
LABELS = ("<5%", "5-10%", "10-15%", "15-20%", ">20%")
EDGES = (0.0, 0.05, 0.10, 0.15, 0.20, 1.0)
"""Of the bands, as shares of the machines."""
LIFE = 24.0
"""Hours over which a band's share is taken. AWS says that it is of the last month, and not how long
the machines lived that it counts. Few live for a month, and the same share of machines that live
for hours means far more evictions an hour: a day is the cautious reading."""
FRESH = 24 * 3600.0
"""Seconds for which a file that was read counts."""
WITHIN = 15.0
"""Seconds for the whole file; the regions are asked meanwhile."""
MOST = 32 * 2**20
"""Bytes of it, several times what is published."""
KEPT_MOST = 2**20
"""Bytes of what is kept of it."""
FORMAT = 1
_LATE = "the file did not come within {:g} s"
NAMES = 40
"""Letters of a region's or a type's name at most."""


@dataclass(frozen=True)
class Bands:
    """by: region -> type -> index in LABELS. date: of the file, as 2026-11-28. why: why there are
    none, "" where there are."""

    by: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    date: str = ""
    why: str = ""

    def an_hour(self, region: str, type: str) -> float | None:
        """Evictions an hour of such a machine; None if they are not known."""
        band = self.by.get(region, {}).get(type)
        if band is None:
            return None
        return -math.log1p(-(EDGES[band] + EDGES[band + 1]) / 2) / LIFE

    def words(self, region: str, type: str) -> str:
        """Where `an_hour` is from, or why it is None."""
        band = self.by.get(region, {}).get(type)
        if band is not None:
            return (
                f"AWS's interruption band {LABELS[band]} of {self.date}, its middle as the share "
                "of a day"
            )
        if self.why:
            return f"AWS's interruption bands could not be read ({self.why})"
        return f"AWS's interruption bands of {self.date} do not tell {type} in {region}"


def read(
    url: str, secrets: Secrets, *, folder: Path | None = None,
    now: Callable[[], float] = time.time,
) -> Bands:  # fmt: skip
    """The bands: those kept in `folder` (the state folder) for a day, or else AWS's.

    Never raises, and takes no longer than WITHIN and the reading of what came: without them,
    evictions are guessed.

    Args:
        url: an address instead of AWS's own (tests, on this computer), "" for AWS's.
    """
    try:
        path = (folder or state.folder() / "aws") / "interruptions.json"
        kept = _kept(path, url, now())
        if kept is not None:
            return kept
        data, date = _in_time(lambda: _download(url, secrets, now))
        found = Bands(_parsed(data), date)
        _keep(path, url, now(), found)
        return found
    except NoAnswer as error:
        return Bands(why=error.words)
    except (MimirError, ValueError) as error:
        return Bands(why=str(error) or type(error).__name__)
    except Exception as error:  # noqa: BLE001 - said; it must not cost the offers
        return Bands(why=f"{type(error).__name__}: {error!s:.120}")


def _in_time(download: Callable[[], tuple[bytes, str]]) -> tuple[bytes, str]:
    """What it returns or raises; ValueError if it takes too long. httpx limits the wait for each
    piece, and an answer may come in pieces for ever, its head too."""
    done: Future[tuple[bytes, str]] = Future()

    def work() -> None:
        try:
            done.set_result(download())
        except BaseException as error:  # noqa: BLE001 - who waits gets it
            done.set_exception(error)

    threading.Thread(target=work, name="spot-advisor", daemon=True).start()
    if not wait([done], WITHIN).done:
        raise ValueError(_LATE.format(WITHIN))
    return done.result()


def _download(url: str, secrets: Secrets, now: Callable[[], float]) -> tuple[bytes, str]:
    """The file and its date."""
    until = time.monotonic() + WITHIN
    base = url or URL
    parts: list[bytes] = []
    size = 0
    try:
        with (
            httpx.Client(
                verify=base.startswith("https:") and ssl_context(), timeout=WITHIN,
                headers={"User-Agent": AGENT, "Accept-Encoding": "identity"}, trust_env=not url,
            ) as client,
            client.stream("GET", base + PATH) as response,
        ):  # fmt: skip
            if not response.is_success:
                raise ValueError(f"the answer was {response.status_code}")
            # A small answer may unpack to any size, or to nothing for ever.
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise ValueError("the answer is compressed, which was not asked for")
            for part in response.iter_raw():
                parts.append(part)
                size += len(part)
                if size > MOST:
                    raise ValueError(f"the file has more than {MOST >> 20} MiB")
                if time.monotonic() > until:
                    raise ValueError(_LATE.format(WITHIN))
            written = response.headers.get("last-modified", "")
    except ValueError:
        raise
    except Exception as error:
        raise translate(error, "AWS's spot advisor", secrets) from error
    try:
        date = parsedate_to_datetime(written).strftime("%Y-%m-%d")
    except (ValueError, OverflowError):
        date = time.strftime("%Y-%m-%d", time.gmtime(now()))
    return b"".join(parts), date


def _parsed(data: bytes) -> dict[str, dict[str, int]]:
    """The bands of the types with a GPU that a file holds; ValueError if it is of another form."""
    try:
        value = json.loads(data)
        told = {int(row["index"]): str(row["label"]) for row in value["ranges"]}
        if told != dict(enumerate(LABELS)):
            raise ValueError(f"its bands are {', '.join(told.values())!r:.80}")
        found = {
            region: {
                name: row["r"]
                for name, row in systems.get("Linux", {}).items()
                if name[:1] in "gp" and len(name) <= NAMES
            }
            for region, systems in value["spot_advisor"].items()
            if len(region) <= NAMES
        }
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(f"the file is in a form that is not known: {error!s:.120}") from error
    return _checked(found)


def _checked(found: Any) -> dict[str, dict[str, int]]:
    for types in found.values():
        for band in types.values():
            if type(band) is not int or not 0 <= band < len(LABELS):
                raise ValueError(f"the file tells a band {band!r:.40}, which is none of its own")
    checked: dict[str, dict[str, int]] = found
    return checked


def _kept(path: Path, url: str, now: float) -> Bands | None:
    """What was read from there in the last day; None if nothing, or if it was damaged."""
    try:
        with path.open("rb") as file:
            value = codec.unsealed(file.read(KEPT_MOST), FORMAT, str(path))
        age = now - float(value["read"])
        if value["from"] != url or not 0 <= age < FRESH:
            return None
        return Bands(_checked(value["bands"]), str(value["date"]))
    except (OSError, MimirError, KeyError, TypeError, AttributeError, ValueError):
        return None  # it is read anew


def _keep(path: Path, url: str, now: float, found: Bands) -> None:
    body = {"from": url, "read": now, "date": found.date, "bands": found.by}
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        atomic_file.write(path, codec.sealed(body, FORMAT), 0o600)
    except OSError:
        return  # then every list of offers reads it again
