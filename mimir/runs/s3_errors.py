"""Translates errors of S3 servers and boto3 into our error tree; nothing else does this."""

from boto3.exceptions import Boto3Error
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSLError,
    SSOError,
)

from mimir.errors import BadInput, Conflict, NotFound, StoreDenied, StoreError, StoreUnfit

_WRONG_KEYS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity", "Unauthorized"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"}
_WRONG_REGION = {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraint"}
_NOT_DONE = {"NotImplemented", "MethodNotAllowed"}
_LATER = {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling"}


def translate(error: Exception, action: str, name: str, endpoint: str) -> Exception:
    """The error to raise instead of `error`.

    action: what was asked, as a verb; name: s3://bucket/key; endpoint: "" for AWS. Messages
    hold the server's error code, never its text: some servers repeat the key id in it.
    """
    if isinstance(error, ClientError):
        return _answered(error, action, name, endpoint)
    where = endpoint or "AWS S3"
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return StoreDenied(
            f"cannot {action} {name}: no credentials were found; set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or give a credentials file"
        )
    if isinstance(error, CredentialRetrievalError | SSOError):
        kind = type(error).__name__
        return StoreDenied(
            f"cannot {action} {name}: the credentials of your AWS configuration cannot be had "
            f"({kind}); sign in again, e.g. `aws sso login`, or give others"
        )
    if isinstance(error, ParamValidationError):
        return BadInput(f"cannot {action} {name}: this is not a legal bucket or key name")
    if isinstance(error, EndpointConnectionError):
        return StoreError(
            f"cannot {action} {name}: {where} cannot be reached; check the network and "
            "endpoint= in the store URL"
        )
    if isinstance(error, ConnectTimeoutError | ReadTimeoutError):
        return StoreError(f"cannot {action} {name}: {where} did not answer in time; try again")
    if isinstance(error, SSLError):
        return StoreError(
            f"cannot {action} {name}: no trusted connection to {where}; check https:// or http:// "
            "in endpoint= and the machine's certificates"
        )
    if isinstance(error, HTTPClientError | BotoCoreError | Boto3Error):
        kind = type(error).__name__
        return StoreError(f"cannot {action} {name}: the connection to {where} failed ({kind})")
    return error


def _answered(error: ClientError, action: str, name: str, endpoint: str) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    where = endpoint or "AWS S3"
    bucket = name.removeprefix("s3://").partition("/")[0]
    cannot = f"cannot {action} {name}"
    if code == "NoSuchBucket":
        return StoreDenied(
            f"{cannot}: there is no bucket {bucket} at {where}; create it, or correct the store URL"
        )
    if code == "RequestTimeTooSkewed":
        return StoreDenied(
            f"{cannot}: the clock of this machine is wrong by more than 15 minutes, so that its "
            "requests are refused; set it, e.g. `sudo timedatectl set-ntp true`"
        )
    if code in _EXPIRED:
        return StoreDenied(
            f"{cannot}: the credentials have expired or been withdrawn ({code}); give fresh ones"
        )
    if code in _WRONG_KEYS or status == 401:
        return StoreDenied(
            f"{cannot}: {where} does not accept these keys ({code or status}); check "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the credentials file"
        )
    if code in _WRONG_REGION or status in (301, 307):
        return StoreDenied(
            f"{cannot}: the bucket lies in another region; add region=... to the store URL"
        )
    if code == "InvalidBucketName":
        return BadInput(f"{cannot}: {bucket!r} is not a legal bucket name")
    if status == 412 or code == "PreconditionFailed":
        return Conflict(f"{cannot}: another version is there than was expected")
    if status == 409:
        return Conflict(f"{cannot}: another write to it was under way ({code})")
    if code in ("NoSuchKey", "NoSuchUpload") or (status == 404 and action != "list"):
        return NotFound(f"{cannot}: there is no such object")
    if status == 501 or code in _NOT_DONE:
        return StoreUnfit(f"{cannot}: {where} does not offer this operation ({code or status})")
    if status == 403:
        return StoreDenied(
            f"{cannot}: these credentials do not allow it ({code or status}); grant "
            f"s3:{_permission(action)} on it, or use other credentials"
        )
    if status >= 500 or status == 429 or code in _LATER:
        return StoreError(
            f"{cannot}: {where} is overloaded or failing ({code or status}); try later"
        )
    return StoreError(f"{cannot}: {where} answered {code or status}")


def _permission(action: str) -> str:
    return {
        "read": "GetObject",
        "download": "GetObject",
        "check": "GetObject",
        "list": "ListBucket",
        "delete": "DeleteObject",
    }.get(action, "PutObject")
