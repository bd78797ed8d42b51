"""What httpx and what lies below it raise, told apart by what an adapter does next."""

import functools
import ssl

import httpx

from launch.contract.errors import Misconfigured
from launch.contract.redaction import Secrets
from mimir.connections import CA_FILES, PROXIES, set_here, to_mend
from mimir.errors import MimirError

_UNSENT = (
    httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError,
    httpx.UnsupportedProtocol, httpx.InvalidURL,
)  # fmt: skip


class NoAnswer(Exception):
    """No answer came that could be read. sent: the service may have got the request."""

    def __init__(self, words: str, *, sent: bool) -> None:
        super().__init__(words)
        self.words, self.sent = words, sent


def translate(error: Exception, service: str, secrets: Secrets) -> MimirError | NoAnswer:
    """What to raise instead of anything that came out of a request.

    Misconfigured says what the user must mend; then nothing was sent. NoAnswer is for the caller,
    who knows whether it may ask again.
    """
    if isinstance(error, MimirError | NoAnswer):
        return error
    lasting = to_mend(error, service)
    if lasting:
        return Misconfigured(f"{service} could not be reached: {lasting}")
    kind = type(error).__name__
    words = secrets.clean(f"{kind}: {error}" if str(error) else kind)
    if isinstance(error, httpx.ProxyError):
        proxy = set_here(PROXIES, "your settings")
        return NoAnswer(f"the proxy that {proxy} names did not let it through, {words}", sent=False)
    return NoAnswer(words, sent=not isinstance(error, _UNSENT))


def unusable_settings(error: Exception, service: str) -> Misconfigured:
    """Of what an HTTP client raised when it was made: httpx reads the proxies' variables then."""
    return Misconfigured(
        f"{service} cannot be asked, because {set_here(PROXIES, 'a proxy setting')} cannot be "
        f"used here ({type(error).__name__}): write proxies as http://host:port (SOCKS needs "
        "`pip install 'httpx[socks]'`) and the exceptions in NO_PROXY as names or addresses, "
        "without ranges of IPv6"
    )


@functools.cache
def ssl_context() -> ssl.SSLContext:
    """As httpx makes it: with certifi's certificates, or those that SSL_CERT_FILE names.

    Raises:
        Misconfigured: that file is missing or holds none.
    """
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # ssl.SSLError is one
        raise Misconfigured(
            f"the certificates that {set_here(CA_FILES[2:], 'this computer')} names cannot be "
            "read: correct the setting, or take it away"
        ) from error
