"""Why a connection could not be made, where only the user can mend it: certificates, proxy, keys.

Libraries wrap what ssl and the operating system raise several times, each in classes of its own.
What lies at the bottom is the same for all of them.
"""

import os
import re
import ssl
from collections.abc import Iterator

from mimir.text import alternatives

CA_FILES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables that name files of certificates: boto3 reads the first two, httpx the others."""
PROXIES = (
    "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy",
    "NO_PROXY", "no_proxy",
)  # fmt: skip

_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE")
_NO_FILE = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)


def below(error: BaseException) -> Iterator[BaseException]:
    """The error and those that it was made from, outermost first, each once.

    Not its context: that is whatever the caller was handling at that time.
    """
    queue: list[object] = [error]
    seen: set[int] = set()
    while queue:
        each = queue.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        kwargs = getattr(each, "kwargs", None)  # botocore keeps the inner error there
        inner = kwargs.get("error") if isinstance(kwargs, dict) else None
        queue += [inner, getattr(each, "reason", None), each.__cause__, *each.args]


def to_mend(error: BaseException, where: str) -> str:
    """What the user has to mend before `where` can be reached, for a sentence after a colon.

    "" for everything that may pass by itself.
    """
    for each in below(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            why = re.sub(r"[^\w ,.'-]", "", str(getattr(each, "verify_message", "")))[:80]
            return (
                f"the certificate of {where} is not trusted here ({why or 'no word why'}); "
                f"if a proxy of your network signs it, have {CA_FILES[0]} or {CA_FILES[2]} name "
                "the file with its authority"
            )
        # Python itself makes some of its errors without these two.
        if isinstance(each, ssl.SSLError) and getattr(each, "reason", "") in _NO_TLS:
            return f"{where} does not speak TLS; write http:// if that is meant, or mend the port"
        if isinstance(each, ssl.SSLError) and getattr(each, "library", "") in ("X509", "PEM"):
            return _ca_file()
        if isinstance(each, _NO_FILE):
            named = os.fsdecode(each.filename) if isinstance(each.filename, str | bytes) else ""
            if not named or named in {os.environ.get(name) for name in CA_FILES}:
                return _ca_file()
        if isinstance(each, UnicodeEncodeError) or (
            isinstance(each, ValueError) and str(each).startswith("Invalid header value")
        ):
            return f"the keys for {where} hold {BAD_CHARACTERS}; copy them again"
    return ""


BAD_CHARACTERS = "characters that no key has, such as a line's end, a blank or an accent"


def set_here(names: tuple[str, ...], otherwise: str) -> str:
    """Those of the variables that are set, as "A or B"; `otherwise` if none is."""
    found = [name for name in names if os.environ.get(name)]
    return alternatives(found) if found else otherwise


def sendable(word: str) -> bool:
    """Whether a key can stand in a request's header."""
    return word.isascii() and word.isprintable() and " " not in word


def _ca_file() -> str:
    which = set_here(CA_FILES, "your configuration")
    return (
        f"the file of certificates that {which} names is missing or holds none; correct the "
        "setting, or take it away"
    )
