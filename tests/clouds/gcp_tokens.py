"""Where Google's libraries get access tokens: its token endpoint, a machine's metadata server."""

import base64
import json
import urllib.parse
from typing import Any

from tests.clouds.server import Answer, Request

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
METADATA = "/computeMetadata/v1/"
ACCOUNT = f"{METADATA}instance/service-accounts/"
WHO = "mimir@fake-project.iam.gserviceaccount.com"
FLAVOR = {"Metadata-Flavor": "Google"}


def answer(request: Request, token: str, minted: list[dict[str, Any]]) -> Answer | None:
    """The answer, with this token; None for a request that is not about tokens.

    minted: what was claimed by each that got one.
    """
    if request.path == "/token":
        words = dict(urllib.parse.parse_qsl(str(request.body)))
        try:
            payload = words["assertion"].split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except (KeyError, IndexError, ValueError):
            claims = {}
        if words.get("grant_type") != GRANT or claims.get("iss") != WHO:
            told = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
            return Answer(400, told)
        minted.append(claims)
        return Answer(200, _granted(token))
    if request.path != "/" and not request.path.startswith(METADATA):
        return None
    if request.headers.get("metadata-flavor") != "Google":
        return Answer(403, "Forbidden", content_type="text/plain")
    if request.path.startswith(ACCOUNT) and request.path.endswith("/token"):
        minted.append(dict(request.query))
        return Answer(200, _granted(token), FLAVOR)
    if request.path.startswith(ACCOUNT):
        return Answer(200, {"email": WHO, "scopes": [], "aliases": ["default"]}, FLAVOR)
    return Answer(200, "fake-project", FLAVOR, content_type="text/plain")


def _granted(token: str) -> dict[str, Any]:
    return {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}
