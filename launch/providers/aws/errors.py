"""What AWS's refusals mean: error codes as classes of the error tree.

Codes are those of EC2's documentation ("Error codes for the Amazon EC2 API") and of what users
report; none of them was heard by us from the real service. InsufficientInstanceCapacity comes with
HTTP 500, so a code that is known counts before the status.
"""

import re
from typing import Any

from launch.contract.errors import (
    AccountLimit,
    AuthFailed,
    Misconfigured,
    NoCapacity,
    ProviderError,
    RateLimited,
    UnknownOutcome,
)
from launch.contract.redaction import Secrets
from launch.providers.http import Absent
from mimir.connections import to_mend
from mimir.errors import BadInput, MimirError

NAME = "aws"
MOST_WORDS = 500
"""Characters of a refusal's reason that are shown: one may hold kilobytes of encoded policy."""
WAIT = 5.0
"""Seconds to wait after a request that was one too many; AWS does not tell how long."""
SPOT_ROLE = "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com"
"""What makes the role without which an account cannot rent spot machines."""


class Unseen(NoCapacity):
    """What an order names is not known in its region: not yet, or not any more."""


class NoParameter(ProviderError):
    """There is no public parameter of that name."""


_UNSEEN = ("InvalidGroup.NotFound", "InvalidGroupId.NotFound", "InvalidSubnetID.NotFound",
           "InvalidAMIID.NotFound", "InvalidAMIID.Unavailable")  # fmt: skip
_FULL = (
    "InsufficientInstanceCapacity", "InsufficientCapacity", "InsufficientHostCapacity",
    "UnfulfillableCapacity", "InsufficientFreeAddressesInSubnet", "Unsupported",
    "SpotMaxPriceTooLow",
)  # fmt: skip
_ZONE = re.compile(r"\b[a-z]{2}(?:-[a-z]+)+-\d+[a-z]\b")
"""EC2 names zones that have room in its words: "… by not specifying an Availability Zone in your
request or choosing us-east-1a, us-east-1b." So users report; not heard from the real service."""
_QUOTA = (
    "MaxSpotInstanceCountExceeded", "VcpuLimitExceeded", "InstanceLimitExceeded",
    "VolumeLimitExceeded", "MaxIOPSLimitExceeded",
)  # fmt: skip
_OFTEN = (
    "RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException",
    "RequestThrottled", "RequestThrottledException", "EC2ThrottledException", "SlowDown",
)  # fmt: skip
_KEYS = (
    "AuthFailure", "InvalidClientTokenId", "SignatureDoesNotMatch", "InvalidAccessKeyId",
    "UnrecognizedClientException", "IncompleteSignature", "MissingAuthenticationToken",
    "InvalidSignatureException",
)  # fmt: skip
_EXPIRED = ("RequestExpired", "ExpiredToken", "ExpiredTokenException")
_RIGHTS = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException")
_ACCOUNT = ("OptInRequired", "PendingVerification", "Blocked", "SubscriptionRequiredException")
_UNSURE = (
    "InternalError",
    "InternalFailure",
    "ServiceUnavailable",
    "Unavailable",
    "ServerInternal",
)
_UNSENT = ("EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError")
_NO_KEYS = (
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError",
    "TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError", "SSOError",
    "RefreshWithMFAUnsupportedError", "ConfigParseError", "ConfigNotFound", "LoginRefreshRequired",
    "MetadataRetrievalError",
)  # fmt: skip


def code_of(error: Exception) -> str:
    """The service's own word for a refusal, "" for what is none."""
    answer = getattr(error, "response", None)
    found = answer.get("Error", {}).get("Code") if isinstance(answer, dict) else None
    return str(found or "")


def explain(error: Exception, what: str, secrets: Secrets) -> MimirError:
    """What an exception of boto3's stands for.

    what: the request, as "RunInstances in eu-west-1". UnknownOutcome is meant for a request that
    changes something; a reader takes it for a failure that may pass.
    """
    if isinstance(error, MimirError):
        return error
    if code_of(error):
        return _refusal(error, what, secrets)
    lasting = to_mend(error, "AWS")
    if lasting:
        return Misconfigured(f"AWS could not be reached: {lasting}")
    kind = type(error).__name__
    words = secrets.clean(str(error))[:MOST_WORDS]
    if kind == "ProfileNotFound":
        return AuthFailed(f"{words}: $MIMIR_AWS_PROFILE must name a profile of ~/.aws/config, or "
                          "be `environment`")  # fmt: skip
    if kind in _NO_KEYS:
        return AuthFailed(f"AWS gets no credentials from here ({kind}): sign in again, or name "
                          "another profile in $MIMIR_AWS_PROFILE")  # fmt: skip
    if kind == "ParamValidationError":
        return BadInput(f"AWS does not take {what}: {' '.join(words.split())}")
    if kind in _UNSENT:
        return ProviderError(
            f"AWS could not be reached ({kind}), nothing was asked for: look at the network, then "
            "try again"
        )
    return UnknownOutcome(f"AWS was sent {what}, but no answer came that can be read ({kind})")


def _refusal(error: Exception, what: str, secrets: Secrets) -> MimirError:
    answer: Any = getattr(error, "response", {})
    code = code_of(error)
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    words = secrets.clean(str(answer["Error"].get("Message") or "no reason"))[:MOST_WORDS]
    told = f"AWS refused {what} ({secrets.clean(code)[:80]}): {words}"
    if code.startswith("InvalidInstanceID.NotFound"):
        return Absent(told)
    if code == "ParameterNotFound":
        return NoParameter(told)
    if code in _UNSEEN:
        return Unseen(told)
    if code in _FULL:
        return NoCapacity(told, _ZONE.findall(words.partition("choosing")[2]))
    if code in _QUOTA:
        return AccountLimit(f"{told}; ask for more at Service Quotas, Amazon EC2")
    if code in _OFTEN or status == 429:
        return RateLimited(f"{told}: asked too often", WAIT)
    if code.startswith("AuthFailure.ServiceLinkedRole"):
        return AuthFailed(f"{told}; an account's first spot machine needs a role: {SPOT_ROLE}")
    if code in _EXPIRED:
        return AuthFailed(f"{told}: the credentials have expired, sign in again")
    if code in _KEYS:
        return AuthFailed(f"{told}: the keys that $MIMIR_AWS_PROFILE names are not accepted")
    if code in _RIGHTS:
        return AuthFailed(f"{told}: a right is missing, docs/providers/aws.md lists all")
    if code in _ACCOUNT:
        return AuthFailed(f"{told}: the account must be cleared with AWS first")
    if code == "IdempotentParameterMismatch":
        # There is a machine of this attempt, ordered in other words: it is looked for, never asked.
        return UnknownOutcome(told)
    if code in _UNSURE or status >= 500:
        return UnknownOutcome(f"{told}: it may or may not have been done")
    if code.startswith(("Invalid", "Missing", "Unknown", "Malformed", "Validation")):
        return BadInput(told)
    return ProviderError(told)
