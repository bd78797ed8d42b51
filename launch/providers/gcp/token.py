"""An access token for Google's APIs, renewed before it ends.

As Google's own libraries find credentials (google-auth: GOOGLE_APPLICATION_CREDENTIALS, or what
`gcloud auth application-default login` left), or a token that the user has made already.
"""

import importlib.util
import time
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

from launch.contract.errors import AuthFailed, Misconfigured, ProviderError
from launch.contract.redaction import Secrets
from mimir.connections import BAD_CHARACTERS, sendable, to_mend
from mimir.errors import OPTIONAL

VARIABLE = "CLOUDSDK_AUTH_ACCESS_TOKEN"
"""gcloud's own variable for a token; it ends within the hour."""
SCOPES = ("https://www.googleapis.com/auth/compute",
          "https://www.googleapis.com/auth/cloud-billing.readonly")  # fmt: skip
RENEWED = 600.0
"""Seconds before its end at which a token is renewed."""
ADVICE = (
    "sign in by `gcloud auth application-default login`, or have GOOGLE_APPLICATION_CREDENTIALS "
    "name a service account's key file"
)


KEY_FILE, FOLDER = "GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG"
SIGNED_IN = "application_default_credentials.json"
"""What `gcloud auth application-default login` leaves in its folder."""


def has_google_auth() -> bool:
    """Whether Google's library is installed; it is not imported."""
    try:
        return importlib.util.find_spec("google.auth") is not None
    except ModuleNotFoundError:  # nothing of Google's is
        return False


def lasts(environ: Mapping[str, str]) -> bool:
    """Whether there are credentials for longer than a token lasts, as far as files tell: those of a
    machine of Google's own are not seen."""
    home = Path(environ.get("HOME") or Path.home())
    folder = Path(environ.get(FOLDER) or home / ".config" / "gcloud")
    return has_google_auth() and (bool(environ.get(KEY_FILE)) or (folder / SIGNED_IN).exists())


class Token:
    """A token that is made when it is first asked for."""

    def __init__(
        self, environ: Mapping[str, str], secrets: Secrets, clock: Callable[[], float] = time.time
    ) -> None:
        self._environ, self._secrets, self._clock = environ, secrets, clock
        self._found: Any = None
        self._http: Any = None

    def get(self) -> str:
        """The token.

        Raises:
            AuthFailed: there are no credentials, or Google does not take them.
            Misconfigured: google-auth is not installed, or a proxy or certificate must be mended.
            ProviderError: Google could not be reached.
        """
        given = self._environ.get(VARIABLE, "").strip()
        if given:
            if not sendable(given):
                raise AuthFailed(f"${VARIABLE} holds {BAD_CHARACTERS}: copy it again")
            return given
        try:
            import google.auth
            import google.auth.exceptions
            import google.auth.transport.requests as transport
        except ImportError as error:
            raise Misconfigured(
                f"Google's credentials cannot be read here ({error}): "
                f"`python -m pip install '{OPTIONAL['google']}'`, or put a token into ${VARIABLE}"
            ) from error
        try:
            if self._found is None:
                # Of a project that pays for requests: Mimir names it itself (project.py).
                warnings.filterwarnings("ignore", module=r"google\.auth\._default")
                self._found, _ = google.auth.default(scopes=SCOPES)
                self._http = transport.Request()
            ends = self._found.expiry  # in UTC, without saying so
            if not self._found.valid or (
                ends is not None and ends.replace(tzinfo=UTC).timestamp() - self._clock() < RENEWED
            ):
                self._found.refresh(self._http)
        except google.auth.exceptions.TransportError as error:
            lasting = to_mend(error, "Google")
            if lasting:
                raise Misconfigured(f"Google could not be reached for a token: {lasting}") from None
            words = self._secrets.clean(str(error)).splitlines()[0][:200]
            raise ProviderError(
                f"Google could not be reached for a token ({words}): look at the network, then try "
                "again"
            ) from None
        except google.auth.exceptions.GoogleAuthError as error:
            words = self._secrets.clean(str(error)).splitlines()[0][:200]
            raise AuthFailed(f"Google gets no credentials from here ({words}): {ADVICE}") from None
        return str(self._found.token)
