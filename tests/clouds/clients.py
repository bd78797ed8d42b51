"""Independent clients of the services, against the fakes: where a test finds them.

tests/clouds/client.sh gets them, `make clients-test` runs what they are needed for. CI must have
them: there a test without its client fails.
"""

import os

import pytest

CLIENTS = {name: os.environ.get(f"MIMIR_{name.upper()}_CLIENT", "") for name in
           ("vastai", "runpod", "lambda", "gcp")}  # fmt: skip
"""Read here, for tests see none of the caller's settings."""
CI = os.environ.get("MIMIR_CI", "") == "1"


def needs(name: str) -> pytest.MarkDecorator:
    """For tests that need this client."""
    return pytest.mark.skipif(
        not (CLIENTS[name] or CI),
        reason=f"set MIMIR_{name.upper()}_CLIENT to the client, or `make clients-test`",
    )
