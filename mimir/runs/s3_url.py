"""Parses `s3://bucket/prefix?endpoint=...&region=...&addressing=...`."""

from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from mimir.errors import BadInput
from mimir.runs.store import check_key

_OPTIONS = ("endpoint", "region", "addressing")
_GOOGLE = ".storage.googleapis.com"


@dataclass(frozen=True)
class Bucket:
    """Where a store lies. addressing: "path" or "virtual"; "" chooses by endpoint."""

    name: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    addressing: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise BadInput("the store URL names no bucket: write s3://bucket/prefix")
        if self.addressing not in ("", "path", "virtual"):
            raise BadInput(f"addressing={self.addressing} in the store URL: use path or virtual")
        if self.endpoint:
            parts = _split(self.endpoint)
            if parts is None or parts.query or parts.fragment:
                raise BadInput(
                    "endpoint in the store URL is not a web address: "
                    "write endpoint=https://host or http://host:port"
                )
            if parts.username is not None or parts.password is not None:
                raise BadInput(
                    "endpoint in the store URL must not hold a user name or secret: "
                    "give credentials by environment or credentials file"
                )
            if f".{parts.hostname}".endswith(_GOOGLE):
                raise BadInput(
                    "Google Cloud Storage cannot hold a store: its S3 endpoint offers no "
                    "conditional writes, on which a run's HEAD rests; use a bucket of a "
                    "server that keeps them (docs/store.md), which Google's machines reach too"
                )
            object.__setattr__(self, "endpoint", self.endpoint.rstrip("/"))

    @property
    def url(self) -> str:
        options = {name: value for name in _OPTIONS if (value := getattr(self, name))}
        query = f"?{urlencode(options, safe=':/')}" if options else ""
        return f"s3://{self.name}" + (f"/{quote(self.prefix)}" if self.prefix else "") + query


def parse_url(url: str) -> Bucket:
    """BadInput for an unknown, repeated or empty option or an illegal prefix."""
    parts = urlsplit(url)
    if parts.fragment:
        raise BadInput("the store URL holds a '#': write %23 where it belongs to a name")
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _OPTIONS:
            raise BadInput(
                f"unknown option {name!r} in the store URL: known are {', '.join(_OPTIONS)}"
            )
        if name in options or not value:
            raise BadInput(
                f"{name}= in the store URL {'stands there twice' if value else 'has no value'}: "
                "write it once, or leave it out"
            )
        options[name] = value
    prefix = unquote(parts.path).strip("/")
    try:
        if prefix:
            check_key(prefix)
    except ValueError as error:
        raise BadInput(f"the path of the store URL is not allowed: {error}") from error
    return Bucket(parts.netloc, prefix, **options)


def _split(endpoint: str) -> SplitResult | None:
    """The parts of a web address; None if it is none."""
    try:
        parts = urlsplit(endpoint)
        parts.port  # noqa: B018 - raises if it is no number
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") and parts.hostname else None
