"""Translates what S3 servers refuse, and what boto3 raises, into our error tree."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError

from mimir.errors import (
    BadInput,
    Conflict,
    Corrupt,
    MimirError,
    NotFound,
    StoreDenied,
    StoreError,
    StoreUnfit,
)
from mimir.runs.s3_failures import explain

ABSENT = ("NoSuchKey", "NoSuchUpload")
WRONG_REGION = (
    "AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect", "Redirect",
    "IllegalLocationConstraintException", "IllegalLocationConstraint", "IncorrectEndpoint",
)  # fmt: skip
_EXPIRED = (
    "ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired",
    "RequestExpired",
)  # fmt: skip
_WRONG_KEYS = (
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity", "Unauthorized",
    "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKey", "AuthFailure",
)  # fmt: skip
_ACCOUNT = (
    "AccountProblem", "AllAccessDisabled", "NotSignedUp", "UserSuspended", "AccountSuspended",
    "InvalidPayer", "OptInRequired", "PaymentRequired", "AccountFrozen", "UserDisable",
    "AccountProblemException", "InArrears", "UnderPenalty",
)  # fmt: skip
_FULL = (
    "QuotaExceeded", "StorageFull", "XMinioStorageFull", "InsufficientStorage", "NoSpace",
    "XMinioAdminBucketQuotaExceeded", "ServiceQuotaExceeded", "StorageQuotaExceeded",
    "TotalStorageLimitExceeded", "StorageCapExceeded", "AccountQuotaExceeded",
)  # fmt: skip
_SPOILT = (
    "BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "InvalidDigest", "InvalidPart",
    "InvalidPartOrder", "XAmzContentChecksumMismatch",
)  # fmt: skip
_NOT_DONE = ("NotImplemented", "MethodNotAllowed", "UnsupportedOperation", "UnsupportedArgument")
_LATER = (
    "SlowDown", "RequestTimeout", "RequestTimeoutException", "InternalError", "ServiceUnavailable",
    "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled",
    "RequestThrottledException", "TooManyRequests", "TooManyRequestsException", "Busy",
    "RequestLimitExceeded", "BandwidthLimitExceeded", "LimitExceededException",
    "ProvisionedThroughputExceededException", "ServerBusy", "ServerNotInitialized",
    "XMinioServerNotInitialized", "PriorRequestNotComplete", "TransactionInProgressException",
    "EC2ThrottledException", "SlowDownRead", "SlowDownWrite", "ClientDisconnected",
)  # fmt: skip


@contextmanager
def told(action: str, name: str, endpoint: str) -> Iterator[None]:
    """Whatever is raised inside leaves as an error of our tree that names what was asked of whom.

    Everything that talks to an S3 server or prepares to does it in here. action: what is asked,
    as a verb; name: s3://bucket/key; endpoint: "" for AWS.
    """
    try:
        yield
    except MimirError:
        raise
    except Exception as error:  # whatever boto3 can raise, see s3_failures
        raise translate(error, action, name, endpoint) from error


def translate(error: Exception, action: str, name: str, endpoint: str) -> MimirError:
    """The error to raise instead of `error`; arguments as `told`.

    Messages hold the server's error code, never its text: some servers repeat the key id in it.
    """
    if isinstance(error, ClientError):
        return _answered(error, action, name, endpoint)
    return explain(error, f"cannot {action} {name}", endpoint or "AWS S3")


def code_of(error: BaseException | None) -> str:
    """The server's error code, or the HTTP status where it gave none; "" for another error."""
    if not isinstance(error, ClientError):
        return ""
    return re.sub(r"\W", "", str(error.response.get("Error", {}).get("Code", "")))[:60]


def status_of(error: BaseException | None) -> int:
    """The HTTP status of a refusal; 0 for another error."""
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _answered(error: ClientError, action: str, name: str, endpoint: str) -> MimirError:
    code, status = code_of(error), status_of(error)
    where = endpoint or "AWS S3"
    bucket = name.removeprefix("s3://").partition("/")[0]
    cannot = f"cannot {action} {name}"
    said = code or status
    # Codes first: the same status stands for a matter of rights here and of money there.
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
    if code in _ACCOUNT or status == 402:
        return StoreDenied(
            f"{cannot}: {where} has suspended the account or wants to be paid ({said}); its owner "
            "must settle that with the service"
        )
    if code in ("InvalidObjectState", "ObjectNotInActiveTierError"):
        return Corrupt(
            f"{cannot}: it was moved to an archive (a storage class like GLACIER) and cannot be "
            f"read ({code}); restore it, and keep the bucket's lifecycle rules away from runs"
        )
    if code in _FULL or status == 507:
        return StoreError(
            f"{cannot}: {where} has no room for it ({said}); free some, or have the quota raised"
        )
    if code.startswith("KMS"):
        return StoreDenied(
            f"{cannot}: {where} cannot use the key that encrypts bucket {bucket} ({code}); enable "
            "it, and allow its use to these credentials"
        )
    if code in _LATER:
        return StoreError(f"{cannot}: {where} is overloaded or failing ({code}); try later")
    if code in _SPOILT:
        return StoreError(f"{cannot}: other bytes arrived than were sent ({code}); try again")
    if code in _WRONG_KEYS or status == 401:
        return StoreDenied(
            f"{cannot}: {where} does not accept these keys ({said}); check "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the credentials file"
        )
    if code in WRONG_REGION or status in (301, 302, 307, 308):
        region = _region(error.response)
        return StoreDenied(
            f"{cannot}: the bucket lies in {f'region {region}' if region else 'another region'}; "
            f"add region={region or '...'} to the store URL"
        )
    if code == "InvalidBucketName":
        return BadInput(f"{cannot}: {bucket!r} is not a legal bucket name")
    if code == "KeyTooLongError":
        return BadInput(f"{cannot}: the name is too long; use a shorter prefix or run name")
    if code in ("EntityTooLarge", "MaxMessageLengthExceeded") or status == 413:
        return BadInput(f"{cannot}: {where} takes no object of this size ({said})")
    if status == 412 or code == "PreconditionFailed":
        return Conflict(f"{cannot}: another version is there than was expected")
    if status == 409:
        return Conflict(f"{cannot}: another write to it was under way ({code})")
    if code in ABSENT or (status == 404 and action != "list"):
        return NotFound(f"{cannot}: there is no such object")
    if status == 501 or code in _NOT_DONE:
        return StoreUnfit(f"{cannot}: {where} does not offer this operation ({said})")
    if status == 403:
        return StoreDenied(
            f"{cannot}: these credentials do not allow it ({said}); grant "
            f"s3:{_permission(action)} on it, or use other credentials"
        )
    if status >= 500 or status == 429 or status == 408:
        return StoreError(f"{cannot}: {where} is overloaded or failing ({said}); try later")
    return StoreError(f"{cannot}: {where} answered {said}")


def _region(response: dict[str, Any]) -> str:
    """Where the server says that the bucket lies; "" if it does not."""
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    named = headers.get("x-amz-bucket-region") or response.get("Error", {}).get("Region") or ""
    return named if re.fullmatch(r"[a-z0-9-]{1,40}", str(named)) else ""


def _permission(action: str) -> str:
    return {
        "read": "GetObject",
        "download": "GetObject",
        "check": "GetObject",
        "list": "ListBucket",
        "delete": "DeleteObject",
    }.get(action, "PutObject")
