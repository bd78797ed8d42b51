"""Stands in for Colab's own package, as far as the notebook uses it. What it is asked for goes
to the file $STUB_CALLS; secrets come from the JSON file $STUB_SECRETS."""

import os


def called(what: str) -> None:
    with open(os.environ["STUB_CALLS"], "a") as calls:
        calls.write(what + "\n")
