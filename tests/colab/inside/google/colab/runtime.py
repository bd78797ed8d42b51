"""As the module of this name on a Colab machine: gives the machine back, without a browser."""

import os
import urllib.request


def unassign() -> None:
    address = f"http://{os.environ['TBE_RUNTIME_ADDR']}/unassign"
    urllib.request.urlopen(urllib.request.Request(address, method="POST"), timeout=10).close()
