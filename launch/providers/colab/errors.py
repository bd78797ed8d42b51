"""What the texts of Google's CLI for Colab mean. It has no machine-readable output.

    Session        a line of `colab sessions`
    refusal        the error that a failed `colab new` stands for
    printed        what it printed, without the tokens that it shows in errors

Seen with version 0.7.5. Its exit code tells little: stop and status end with 0 for a session
that is not there, and exec ends with 0 whatever the code did.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from launch.contract.errors import (
    AuthFailed,
    BalanceEmpty,
    NoCapacity,
    ProviderError,
    RateLimited,
    UnknownOutcome,
)
from launch.contract.redaction import clean
from mimir.errors import BadInput, MimirError

VERSIONS = (0, 7, 4), (0, 8)
"""From the first, below the second. 0.6 loses every session after an hour (its token is not
renewed), 0.7.3 was withdrawn."""
INSTALL = (
    "install it in an environment of its own, with Python 3.12 or newer: "
    "`python3.12 -m venv ~/colab && ~/colab/bin/pip install 'google-colab-cli>=0.7.4,<0.8'`, and "
    "set COLAB_CLI_PATH=~/colab/bin/colab"
)
LOGIN = "sign in once: run `colab sessions` in a terminal and follow it"
RETRY_AFTER = 60.0
"""Seconds to wait after a 429, which Colab gives no time with."""
STRUCK = "Pruned 1 stale"
"""What the CLI says of a session that it knew and the account has no more."""
_LINE = re.compile(r"\[(?P<name>[^\]]*)\] (?P<endpoint>\S+) \| Hardware: (?P<hardware>[^|]+?) \|")
_ANSI = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|_G.*?\x1b\\)", re.S)


class Outcome(StrEnum):
    """What Colab's servers answer instead of a machine, by the number they give it."""

    VARIANT = "1"
    TIME = "2"
    DENIED = "5"


@dataclass(frozen=True)
class Session:
    """A machine that the account has now. name: "?" where this computer did not make it."""

    name: str
    endpoint: str
    hardware: str


def sessions(text: str) -> list[Session]:
    """Those that `colab sessions` printed."""
    return [Session(**match.groupdict()) for match in map(_LINE.match, text.splitlines()) if match]


def version(text: str) -> tuple[int, ...]:
    """Of `colab version`; () if it does not say."""
    match = re.search(r"Version: (\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def refusal(said: str, gpu: str) -> MimirError:
    """Why `colab new` made no session. gpu: Colab's name of what was asked for, "" for none.

    UnknownOutcome where the request may still have been carried out.
    """
    outcome = re.search(r"'outcome': (\d+)", said)
    if "precondition failed" in said:
        return NoCapacity(
            "Colab refuses a session now: too many are open, or a limit of use or capacity is "
            "reached; end what is open (`colab sessions`), wait some minutes, or try another GPU"
        )
    if "Backend rejected accelerator" in said:
        return BalanceEmpty(
            f"Colab does not give this account a {gpu}: it may need compute units "
            "(https://colab.research.google.com/signup); T4 and cpu are what free accounts may get"
        )
    if outcome and outcome[1] == Outcome.VARIANT:
        return BalanceEmpty(
            f"Colab does not give this account a {gpu or 'machine'} now (quota for this kind of "
            "machine): try another, wait a day, or buy compute units"
        )
    if outcome and outcome[1] == Outcome.TIME:
        return BalanceEmpty(
            "this account has used up its time on Colab for now: resume in some hours, or buy "
            "compute units"
        )
    if outcome and outcome[1] == Outcome.DENIED:
        return AuthFailed("Colab has barred this account: see its Terms of Service and FAQ")
    if re.search(
        r": (Internal Server Error|Bad Gateway|Gateway Time-?out)\b"
        r"|ReadTimeout|RemoteDisconnected|Connection aborted|reset by peer",
        said,
    ):
        return UnknownOutcome("Colab did not answer the order of a session")
    return failure(said, "make a session")


def failure(said: str, what: str) -> MimirError:
    """Why a command failed. what: what it was for, as in "cannot ...".

    Nothing of this is a verdict on a session: one is gone only if a list without it says so.
    """
    if re.search(
        r"Aborted\.|Enter the authorization code|DefaultCredentialsError|RefreshError"
        r"|No valid default credentials|Unauthorized|invalid_grant",
        said,
    ):
        return AuthFailed(f"Colab does not know who asks: {LOGIN}")
    if re.search(r": Forbidden\b", said):
        return AuthFailed(f"Colab does not let this account {what} (Forbidden)")
    if "Too Many Requests" in said:
        return RateLimited("Colab limits how often it is asked: wait a minute", RETRY_AFTER)
    if "Service Unavailable" in said:
        return NoCapacity("Colab has no machine to give now: try again later")
    if re.search(r"NameResolution|NewConnection|ProxyError|ConnectTimeout|SSLError", said):
        return ProviderError("Colab cannot be reached: check the network")
    return ProviderError(f"Colab's CLI could not {what}: {last_line(said)}")


def unusable(code: int, said: str, program: str) -> BadInput | None:
    """The error if a CLI whose `version` ended with this code and said this is not to be used."""
    found = version(said)
    if found and VERSIONS[0] <= found < VERSIONS[1]:
        return None
    has = (
        f"version {'.'.join(map(str, found))}"
        if found
        else f"no version (`version` ended with {code}: {last_line(said)})"
    )
    return BadInput(f"{program} has {has}, but >=0.7.4,<0.8 of Colab's CLI is needed: {INSTALL}")


def printed(text: str) -> str:
    """What a command or a cell printed, without tokens and terminal codes."""
    return clean(_ANSI.sub("", text))


def last_line(said: str) -> str:
    """The last thing that a command said: above it may be a traceback with tokens in it."""
    lines = [line.strip() for line in printed(said).splitlines() if line.strip()]
    return lines[-1].removeprefix("[colab] ")[:200] if lines else "it gave no reason"
