"""Whatever the libraries below a store can raise comes out as an error of ours."""

import builtins
import http.client
import os
import socket
import ssl
import xml.etree.ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3.exceptions
import botocore.credentials
import botocore.exceptions as boto
import botocore.httpsession
import botocore.parsers
import botocore.tokens
import pytest
import s3transfer.exceptions
import urllib3.exceptions

from mimir.errors import BAD_CONFIG, INTERRUPTED, BadInput, MimirError, StoreDenied, StoreError
from mimir.runs import s3_credentials, s3_failures
from mimir.runs.s3_store import S3Store
from mimir.runs.s3_url import Bucket
from mimir.runs.store import Store, open_store
from tests import exceptions
from tests.exceptions import SECRET
from tests.waiting import unless_it_hangs

CLASSES = exceptions.classes(
    boto, botocore.parsers, botocore.httpsession, botocore.credentials, botocore.tokens,
    boto3.exceptions, s3transfer.exceptions, urllib3.exceptions, http.client, ssl, socket,
    xml.etree.ElementTree, builtins,
)  # fmt: skip
CALLS: dict[str, Callable[[Store], object]] = {
    "read": lambda store: store.read("run/x"),
    "put_if_absent": lambda store: store.put_if_absent("run/x", b"x"),
    "compare_and_swap": lambda store: store.compare_and_swap("run/x", b"x", "0" * 32),
    "put_content": lambda store: store.put_content("run/x", b"x"),
    "put": lambda store: store.put("run/x", b"x"),
    "get": lambda store: store.get("run/x"),
    "get large": lambda store: store.get("run/x", size=1 << 30),
    "list": lambda store: list(store.list("")),
    "folders": lambda store: list(store.folders()),
    "delete": lambda store: store.delete("run/x"),
    "now": lambda store: store.now(),
    "presign": lambda store: store.presign("run/x", 9),  # type: ignore[attr-defined]
    "by_address": lambda store: store.by_address(),  # type: ignore[attr-defined]
}


class Raising:
    """A client each of whose methods raises."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return self._raise

    def _raise(self, *_: Any, **__: Any) -> None:
        raise self._error


def test_every_call_turns_every_exception_into_one_sentence() -> None:
    assert len(CLASSES) > 200
    store = S3Store(Bucket("b", endpoint="http://h", region="r"))
    for kind in CLASSES:
        for error in exceptions.instances(kind):
            for name, call in CALLS.items():
                store._client = store._once = Raising(error)
                with pytest.raises(MimirError) as caught:
                    call(store)
                text = str(caught.value)
                assert "s3://b" in text, (name, kind, text)
                assert "\n" not in text
                assert SECRET[:9] not in text, (name, kind, text)
                assert caught.value.exit_code in (BAD_CONFIG, INTERRUPTED), (name, kind)


def test_so_it_is_before_anything_is_asked() -> None:
    for kind in CLASSES:
        for error in exceptions.instances(kind):
            for made in (s3_failures.configuration(error, "no"), s3_failures.credentials(error)):
                assert isinstance(made, MimirError)
                assert "\n" not in str(made)
                assert SECRET[:9] not in str(made), (kind, str(made))


def wrapped(inner: Exception) -> Exception:
    """As botocore hands on what urllib3 made of it."""
    return boto.HTTPClientError(error=urllib3.exceptions.MaxRetryError(None, "/", inner))  # type: ignore[arg-type]


def verification() -> ssl.SSLError:
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_message = "self-signed certificate"
    return error


def tls(reason: str, library: str = "SSL") -> ssl.SSLError:
    error = ssl.SSLError(1, "x")
    error.reason, error.library = reason, library
    return error


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (boto.SSLError(endpoint_url="h", error=verification()), StoreDenied, "self-signed"),
        (wrapped(verification()), StoreDenied, "is not trusted here"),
        (wrapped(tls("WRONG_VERSION_NUMBER")), StoreDenied, "does not speak TLS"),
        (wrapped(tls("NO_CERTIFICATE", "X509")), StoreDenied, "file of certificates"),
        (wrapped(FileNotFoundError(2, "x")), StoreDenied, "file of certificates"),
        (wrapped(ValueError(f"Invalid header value b'{SECRET}'")), StoreDenied, "no key has"),
        (wrapped(tls("UNEXPECTED_EOF_WHILE_READING")), StoreError, "failed"),
        (wrapped(ConnectionResetError(104, "x")), StoreError, "failed"),
        (boto.ProxyConnectionError(proxy_url="h"), StoreError, "the proxy that"),
        (boto.InvalidProxiesConfigError(error="x"), BadInput, "not the address of a proxy"),
        (boto.InvalidDefaultsMode(mode="x", valid_modes="y"), BadInput, "AWS configuration"),
        (TimeoutError(), StoreError, "did not answer in time"),
        (KeyError("ETag"), StoreError, "only in part"),
        (RecursionError(), StoreError, "cannot be used"),
    ],
)
def test_each_has_the_class_that_fits(error: Exception, kind: type, says: str) -> None:
    made = s3_failures.explain(error, "cannot read s3://b/x", "http://h")
    assert type(made) is kind
    assert says in str(made)


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's AWS configuration file."""
    path = tmp_path / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    return path


FAILING = f"#!/bin/sh\necho '{SECRET}'\necho '{SECRET}' >&2\nexit 3\n"


@pytest.mark.parametrize(
    ("config", "environ", "says"),
    [
        ("", {"AWS_PROFILE": "typo"}, "no profile 'typo'"),
        ("key = x\n", {}, "begins with a line like"),
        ("\ufeff[default]\nregion = r\n", {}, "byte order mark"),
        ("[default]\ncredential_process = /nosuch/tool\n", {}, "'/nosuch/tool'"),
        ("[default]\ncredential_process = {tool}\n", {}, "credential_process"),
        ("[default]\ncredential_process = echo text\n", {}, "run that program by hand"),
        ("[default]\ncredential_process = echo {{}}\n", {}, "credential_process"),
        ("[default]\ncredential_process = 'unclosed\n", {}, "credential_process"),
        ("", {"AWS_ROLE_ARN": "a", "AWS_WEB_IDENTITY_TOKEN_FILE": "/nosuch/t"}, "'/nosuch/t'"),
        ("[default]\nrole_arn = a\nsource_profile = gone\n", {}, "AWS configuration"),
        ("[default]\nsso_session = gone\nsso_account_id = 1\nsso_role_name = r\n", {}, "AWS conf"),
        ("[default]\nregion = not a region\n", {}, "AWS configuration cannot be used"),
        ("[default]\ns3 =\n  addressing_style = odd\n", {}, ""),
        ("", {"AWS_ACCESS_KEY_ID": "A\n", "AWS_SECRET_ACCESS_KEY": "s"}, "no key has"),
        ("", {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "“s”"}, "no key has"),
        ("", {"AWS_ACCESS_KEY_ID": "A"}, "no credentials were found"),
        ("", {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.9/x"}, "AWS configuration"),
        ("", {"AWS_ENDPOINT_URL": "localhost:9"}, "AWS_ENDPOINT_URL"),
        ("", {"AWS_ENDPOINT_URL_S3": "http://u:p@h"}, "must not hold a user name"),
    ],
)
def test_a_broken_configuration_is_one_sentence_and_78(
    aws: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    config: str, environ: dict[str, str], says: str,
) -> None:  # fmt: skip
    tool = tmp_path / "tool"
    tool.write_text(FAILING)
    tool.chmod(0o700)
    aws.write_text(config.replace("{tool}", str(tool)).replace("{{}}", "{}"), encoding="utf-8")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    url = "s3://b/x" if any("ENDPOINT" in name for name in environ) else _closed()
    with pytest.raises((BadInput, StoreDenied)) as caught:
        unless_it_hangs(lambda: open_store(url).read("run/HEAD"))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert SECRET[:9] not in str(caught.value)


def _closed() -> str:
    """A store at a port where nothing listens: what is tested comes before a connection."""
    return "s3://b/x?endpoint=http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("config", "environ", "endpoint"),
    [
        ("", {}, ""),
        ("", {"AWS_ENDPOINT_URL": "http://h:9/"}, "http://h:9"),
        ("", {"AWS_ENDPOINT_URL": "http://no", "AWS_ENDPOINT_URL_S3": "http://h"}, "http://h"),
        ("", {"AWS_ENDPOINT_URL": "http://h/a/path"}, "http://h/a/path"),
        ("", {"AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_S3": ""}, ""),
        ("[default]\nendpoint_url = http://h\n", {}, "http://h"),
        (
            "[default]\nservices = s\n[services s]\ns3 =\n  endpoint_url = http://h\n",
            {},
            "http://h",
        ),
        ("[profile p]\nendpoint_url = http://h\n", {"AWS_PROFILE": "p"}, "http://h"),
        ("[default]\nignore_configured_endpoint_urls = true\nendpoint_url = http://h\n", {}, ""),
        ("", {"AWS_ENDPOINT_URL": "http://h", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, ""),
        ("[default]\nuse_dualstack_endpoint = true\n", {}, ""),
    ],
)
def test_the_endpoint_that_is_used_is_in_the_url(
    aws: Path, monkeypatch: pytest.MonkeyPatch, config: str, environ: dict[str, str], endpoint: str
) -> None:
    aws.write_text(config)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    store = open_store("s3://bucket/x")
    used = str(store._client.meta.endpoint_url)  # type: ignore[attr-defined]
    assert store.url == f"s3://bucket/x{f'?endpoint={endpoint}' if endpoint else ''}"
    assert used.rstrip("/") == endpoint if endpoint else ".amazonaws.com" in used or ".aws" in used
    for name in environ:
        monkeypatch.delenv(name)
    aws.write_text("")
    again = open_store(store.url)  # as on a machine, which has none of this
    if endpoint:
        assert str(again._client.meta.endpoint_url).rstrip("/") == endpoint  # type: ignore[attr-defined]


def test_the_region_that_is_used_is_in_the_url(aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.write_text("[default]\nregion = eu-north-1\n")
    assert open_store("s3://bucket").url == "s3://bucket?region=eu-north-1"
    assert open_store("s3://bucket?region=x").url == "s3://bucket?region=x"


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"AWS_CA_BUNDLE": "/nosuch.pem"}, "that AWS_CA_BUNDLE names is missing"),
        ({"AWS_CA_BUNDLE": __file__}, "that AWS_CA_BUNDLE names is missing or holds none"),
        ({"HTTPS_PROXY": "http://127.0.0.1:1"}, "the proxy that HTTPS_PROXY names"),
        ({"HTTPS_PROXY": "nonsense://x"}, "HTTPS_PROXY"),
        ({"HTTPS_PROXY": "http://[x"}, "HTTPS_PROXY is not a web address"),
    ],
)
def test_certificates_and_proxies(
    connected_by: Callable[[dict[str, str]], None], environ: dict[str, str], says: str
) -> None:
    connected_by(environ)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        store = S3Store(Bucket("b", endpoint=url, region="r"), tries=1, read_timeout=1)
        with pytest.raises((StoreError, BadInput), match=says):
            store.read("run/HEAD")


@pytest.mark.parametrize(
    "url",
    [
        "s3://[bad/x", "file:///a%00b", "s3://b/x%0Ay", "s3://b/x#y", "s3://b?endpoint=",
        "s3://b?region=a&region=b", "s3://b?endpoint=http://h:port", "s3://b?endpoint=http://[x",
        "s3://b?endpoint=h:9", "s3://b?endpoint=http://h?x=y", "s3://\x1b[31m/x",
        "s3://b?region=a b",
    ],
)  # fmt: skip
def test_a_url_that_is_none_is_refused_and_shown_safely(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        open_store(url)
    assert str(caught.value).isprintable()


def test_keys_that_fail_to_be_renewed_are_told_too() -> None:
    class Found:
        method = "x"

        def get_frozen_credentials(self) -> None:
            raise ValueError(SECRET)

    class Chain:
        providers = ()

    resolver = s3_credentials.ToldResolver(Chain())  # type: ignore[arg-type]
    assert resolver.load_credentials() is None
    with pytest.raises(StoreDenied, match="credential_process") as caught:
        s3_credentials._Told(Found()).get_frozen_credentials()  # type: ignore[arg-type]
    assert SECRET[:9] not in str(caught.value)
    assert os.linesep not in str(caught.value)
