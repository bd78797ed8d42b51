"""The end of a machine whose image cannot run Python: by the shell alone, with curl or GNU wget.

Everything else of a machine is Python's, its end too (mimir/worker/self_terminate.py). Without
that an image that cannot run it would be started again by its service for ever, and paid. The
bearer token goes to curl by its standard input, and to wget as an argument, which has no other way;
it can end this machine and do nothing else.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

BETWEEN = 600
"""Seconds between requests, and until a machine that cannot ask exits."""
_UNFIT = "the image has no python3 of 3.9 or newer that runs"
_FIT = (
    "python3 -c 'import json,sys,urllib.request,zlib;sys.exit(sys.version_info<(3,9))' 2>/dev/null"
)
_CURL = (
    'printf \'header = "Authorization: Bearer %s"\\n\' "$t"|'
    'curl -fsS -m 30 -o /dev/null -K - -A mimir -X {method} {json}{curl_body}"$u"'
)
_WGET = (
    "wget -q -T 30 -t 1 -O /dev/null --max-redirect=0 -U mimir --method={method} "
    '--header "Authorization: Bearer $t" {wget_json}{wget_body}"$u"'
)


def unless_python(env: Mapping[str, str]) -> str:
    """Shell words that go on only where Python runs, and else end the machine if they can.

    env: the machine's variables, of which MIMIR_END is the request that ends it (Cloud.ending).
    """
    ending = json.loads(env.get("MIMIR_END") or "null")
    alone = f"echo mimir: {_UNFIT};"
    if ending is not None:
        # `wait` hears the SIGTERM that a shell with a command in its foreground does not.
        ends = f"while :;do {_ask(ending)}sleep {BETWEEN}&wait $!;done;"
        alone += f"trap 'exit 78' TERM INT;{ends}"
    return f"{_FIT}||{{ {alone}sleep {BETWEEN};exit 78;}};"


def _ask(ending: Mapping[str, Any]) -> str:
    body = ending.get("body")
    text = None if body is None else json.dumps(body, separators=(",", ":"))
    words = {
        "method": str(ending["method"]),
        "json": "" if text is None else "-H 'Content-Type: application/json' ",
        "wget_json": "" if text is None else "--header 'Content-Type: application/json' ",
        "curl_body": "" if text is None else '--data-raw "$b" ',
        "wget_body": "" if text is None else '--body-data "$b" ',
    }
    given = f'u={_quoted(ending["url"])};t="${{{ending["token"]}}}";'
    if text is not None:
        given += f"b={_quoted(text)};"
    told = "echo mimir: this machine has asked to be ended"
    return (
        f"{given}if command -v curl >/dev/null;then {_CURL.format(**words)}&&{told};"
        f"elif command -v wget >/dev/null;then {_WGET.format(**words)}&&{told};"
        "else echo mimir: and neither curl nor wget: it cannot end itself;fi;"
    )


def _quoted(text: str) -> str:
    """A text with {NAME}s as a shell's word in which these are variables."""
    safe = re.sub(r'([\\"`$])', r"\\\1", text)
    return '"' + re.sub(r"\{([A-Z][A-Z0-9_]*)\}", r"${\1}", safe) + '"'
