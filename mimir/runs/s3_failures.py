"""What boto3 and what lies below it raise, other than a server's refusal, as our errors.

The classes of botocore, urllib3, http.client, ssl and the operating system are sorted by what the
user does next: mend the AWS configuration, the certificates, the proxy or the keys (78), or try
again (75). A class that nobody thought of ends as "try again". Texts of other programs are never
repeated: a `credential_process` may print secrets.
"""

import os
import ssl
from http.client import HTTPException

from boto3.exceptions import Boto3Error
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3 import exceptions as urllib

from mimir.connections import BAD_CHARACTERS, PROXIES, below, set_here, to_mend
from mimir.errors import BadInput, MimirError, StoreDenied, StoreError

_CREDENTIALS = (
    boto.CredentialRetrievalError, boto.SSOError, boto.LoginError, boto.TokenRetrievalError,
    boto.NoAuthTokenError, boto.RefreshWithMFAUnsupportedError, boto.MetadataRetrievalError,
    boto.UnknownCredentialError, boto.UnknownTokenProviderError, boto.MissingDependencyException,
)  # fmt: skip
_CONNECTION = (
    boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError, boto.ChecksumError,
    boto.FlexibleChecksumError, boto.AwsChunkedWrapperError, boto.CapacityNotAvailableError,
    boto.PaginationError, boto.WaiterError, urllib.HTTPError, HTTPException, OSError, EOFError,
    Boto3Error,
)  # fmt: skip
"""May pass. What else is a BotoCoreError is about settings, which do not mend themselves."""

_LOCAL = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)


class NoAnswer(Exception):
    """What came is no whole answer of an S3 server.

    what: for a sentence that goes on "…, the server ". lasting: it was tried again in vain, and
    is not a matter of a connection that broke.
    """

    def __init__(self, what: str, *, lasting: bool) -> None:
        super().__init__(what)
        self.what, self.lasting = what, lasting


def explain(error: BaseException, cannot: str, where: str) -> MimirError:
    """The error to raise instead of `error`, which is no ClientError.

    cannot: the sentence's beginning, "cannot read s3://…"; where: the server asked.
    """
    if isinstance(error, MimirError):
        return error
    kind = type(error).__name__
    if isinstance(error, NoAnswer):
        return _no_answer(error, cannot, where)
    known = _credentials(error, cannot) or _below(error, cannot, where)
    if known:
        return known
    if isinstance(error, boto.ParamValidationError | boto.InvalidDNSNameError):
        return BadInput(f"{cannot}: this is not a legal bucket or key name")
    if isinstance(error, boto.EndpointConnectionError):
        return StoreError(
            f"{cannot}: {where} cannot be reached; check the network and endpoint= in the store URL"
        )
    if isinstance(error, boto.ConnectTimeoutError | boto.ReadTimeoutError | TimeoutError):
        return StoreError(f"{cannot}: {where} did not answer in time; try again")
    if isinstance(error, boto.SSLError | ssl.SSLError):
        return StoreError(
            f"{cannot}: no trusted connection to {where}; check https:// or http:// in endpoint= "
            "and the machine's certificates"
        )
    if isinstance(error, _CONNECTION):
        return StoreError(f"{cannot}: the connection to {where} failed ({kind}); try again")
    if isinstance(error, boto.BotoCoreError):
        return configuration(error, cannot)
    if isinstance(error, KeyError | ResponseParserError):
        return StoreError(f"{cannot}: {where} answered only in part ({kind}); try again")
    return StoreError(f"{cannot}: what {where} answered cannot be used ({kind}); try again")


def configuration(error: BaseException, cannot: str) -> MimirError:
    """As `explain`, of what went wrong before anything was asked: the user mends a setting."""
    if isinstance(error, MimirError):
        return error
    known = _credentials(error, cannot) or _below(error, cannot, "the server")
    if known:
        return known
    if isinstance(error, boto.ProfileNotFound):
        profile = _shown(error.kwargs.get("profile"))
        return BadInput(
            f"{cannot}: your AWS configuration has no profile {profile}; correct AWS_PROFILE (or "
            "unset it), or add the profile to ~/.aws/config"
        )
    if isinstance(error, boto.ConfigParseError | boto.ConfigNotFound):
        path = _shown(error.kwargs.get("path"))
        return BadInput(
            f"{cannot}: the AWS configuration file {path} cannot be read as one; it begins with "
            "a line like [default] and is saved as UTF-8 without a byte order mark"
        )
    if isinstance(error, ValueError) and str(error).startswith("Invalid endpoint"):
        return BadInput(
            f"{cannot}: an endpoint is set that is not a web address; write it as https://host or "
            "http://host:port in endpoint=, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or endpoint_url "
            "of ~/.aws/config"
        )
    return BadInput(
        f"{cannot}: your AWS configuration cannot be used ({type(error).__name__}); correct the "
        "AWS_* variables or ~/.aws/config (`aws configure list` shows what is set where)"
    )


def credentials(error: BaseException) -> MimirError:
    """As `explain`, of what a provider of credentials raised: a program, a file, a sign-in."""
    if isinstance(error, MimirError):
        return error
    cannot = "your AWS configuration gives no credentials"
    if isinstance(error, boto.ProfileNotFound | boto.ConfigParseError | boto.ConfigNotFound):
        return configuration(error, cannot)
    known = _credentials(error, cannot) or _below(error, cannot, "the service that gives them")
    if known:
        return known
    kind = type(error).__name__
    if isinstance(error, _CONNECTION) and not isinstance(error, boto.ConfigNotFound):
        return StoreError(f"{cannot}: the service that gives them did not answer ({kind})")
    if isinstance(error, ValueError | KeyError | TypeError):
        return StoreDenied(
            f"{cannot}: what its credential_process prints, or one of its files holds, is not what "
            f"it must be ({kind}); run that program by hand, or give other credentials"
        )
    return StoreDenied(f"{cannot} ({kind}); sign in again, or give other credentials")


def _credentials(error: BaseException, cannot: str) -> MimirError | None:
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return StoreDenied(
            f"{cannot}: no credentials were found; set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or give a credentials file"
        )
    if isinstance(error, boto.CredentialRetrievalError) and (
        error.kwargs.get("provider") == "custom-process"
    ):
        return StoreDenied(
            f"{cannot}: the credential_process of your AWS configuration failed; run it by hand "
            "to see why, or give other credentials"
        )
    if isinstance(error, boto.MissingDependencyException):
        return BadInput(
            f"{cannot}: your AWS configuration signs in by a way that needs another package; "
            "`pip install 'botocore[crt]'`, or give other credentials"
        )
    if isinstance(error, _CREDENTIALS):
        return StoreDenied(
            f"{cannot}: your AWS configuration gives no valid credentials "
            f"({type(error).__name__}); sign in again, e.g. `aws sso login`, or give others"
        )
    return None


def _below(error: BaseException, cannot: str, where: str) -> MimirError | None:
    """What the first telling error below `error` says, if any."""
    lasting = to_mend(error, where)
    if lasting:
        return StoreDenied(f"{cannot}: {lasting}")
    for each in below(error):
        if isinstance(each, MimirError):
            return each
        if isinstance(each, _LOCAL) and each.filename:
            return StoreDenied(
                f"{cannot}: {_shown(each.filename)}, which your AWS configuration names, cannot "
                f"be used ({_reason(each)}); correct it there"
            )
        if isinstance(each, boto.InvalidProxiesConfigError | urllib.ProxySchemeUnknown):
            return BadInput(f"{cannot}: {_proxy()} is not the address of a proxy; correct it")
        if isinstance(each, boto.ProxyConnectionError | urllib.ProxyError):
            return StoreError(
                f"{cannot}: the proxy that {_proxy()} names does not let it through to {where}; "
                "try again, correct it, or except the server by NO_PROXY"
            )
        # urllib's parser has no class of its own for a proxy's address that is none.
        bare = type(each) is ValueError and each is not error and set_here(PROXIES, "")
        if isinstance(each, urllib.LocationValueError) or bare:
            return BadInput(f"{cannot}: {where} or {_proxy()} is not a web address; correct it")
    return None


def bad_characters(cannot: str) -> StoreDenied:
    """Of keys that cannot be sent: pasted with a line's end, with quotes, or with an accent."""
    return StoreDenied(
        f"{cannot}: the keys hold {BAD_CHARACTERS}; copy AWS_ACCESS_KEY_ID, "
        "AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN again"
    )


def _no_answer(error: NoAnswer, cannot: str, where: str) -> MimirError:
    if error.lasting:
        return StoreDenied(
            f"{cannot}: {where} {error.what}, as no S3 server does; correct endpoint= in the "
            "store URL, or what stands between (a proxy, a login page)"
        )
    return StoreError(f"{cannot}: {where} {error.what}; try again")


def _proxy() -> str:
    return set_here(PROXIES, "the proxy setting")


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else type(error).__name__


def _shown(name: object) -> str:
    """A path or a profile's name, in quotes that make what cannot be printed visible."""
    return ascii(str(name)[:200])
