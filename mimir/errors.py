"""The error tree. Each class names what the caller does next; each carries an exit code.

    MimirError
    ├── BadInput           78  the user changes something: a file, an option, a key
    │   ├── MissingPackage 78  a package that only some commands need is not installed
    │   ├── BrokenPackage  78  one is installed, and Python cannot import it
    │   ├── RunExists      78  this name is taken by a run with another configuration
    │   ├── GpuUnusable    78  a driver to mend; of a rented machine, what MachineUnfit says
    │   └── OtherFormat    78  another Mimir wrote it: only that one may serve the run
    ├── StoreError         75  the store did not do what was asked; trying again may help
    │   ├── StoreDenied    78  credentials or permissions: trying again does not help
    │   ├── StoreUnfit     78  the store cannot keep a promise that the commit rests on
    │   ├── Conflict       75  a conditional write met another version than it expected
    │   └── NotFound       75  no object under this key: use an older copy, or none
    ├── ServiceError       75  a service gave no whole answer: trying again may help
    ├── Corrupt            75  bytes are not those that were committed: use an older copy
    ├── Fenced             76  a newer attempt owns the run: stop, do not restart
    ├── NonFinite          77  NaN or infinity, in training or of a model: a person must look
    ├── MachineUnfit       79  this machine is not what was forecast: go on on another
    └── Interrupted        75  asked to stop; the run goes on from its last checkpoint

A message says what happened, what was expected, and what to do. The command line
prints it as one sentence without a traceback and exits with `exit_code`.
"""

import importlib.util
from collections.abc import Iterable

HOST_UNFIT = 79
"""Of the training process alone: the worker writes that its host fell short, and ends with 75."""
DIFFERENT = 80
"""Of `replay` alone: training again ended at another state than the run did."""
DONE = 0
INTERRUPTED = 75
FENCED = 76
NON_FINITE = 77
BAD_CONFIG = 78


class MimirError(Exception):
    """Base of all errors that are shown to a user without a traceback."""

    exit_code = 1


class BadInput(MimirError):
    """Something the user gave is wrong; the message says what, where, and what to do."""

    exit_code = BAD_CONFIG


OPTIONAL = {
    "torch": "torch>=2.6",
    "pynvml": "nvidia-ml-py>=11.450",
    "paramiko": "paramiko>=3.4",
    "google": "google-auth[requests]>=2.30",
}
"""Packages that only some commands need, by what Python imports, as `pip install` takes them. They
are those of pyproject.toml's extras. Mimir itself is on no index, so no advice names it."""


class MissingPackage(BadInput):
    """A package that this command needs is not installed. name: as in OPTIONAL."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"this needs {name}, which is not installed here: "
            f"`python -m pip install '{OPTIONAL[name]}'`"
        )


def must_have(names: Iterable[str]) -> None:
    """MissingPackage unless all of these can be imported; imports none of them."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise MissingPackage(name)


class BrokenPackage(BadInput):
    """A package is installed, and cannot be imported. why: what Python said last."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"{name} is installed here, but cannot be imported ({why[:300]}): install it anew by "
            f"`python -m pip install --force-reinstall '{OPTIONAL[name]}'`"
        )


class RunExists(BadInput):
    """A run of this name exists with another configuration."""


class OtherFormat(BadInput):
    """A document is of a format that this Mimir does not read: it leaves the run as it is."""


class GpuUnusable(BadInput):
    """The GPU of this machine is not there or fails. what: the message without its remedy."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what = what


class StoreError(MimirError):
    """The store failed in a way that may pass (network, 5xx, timeout, full disk)."""

    exit_code = INTERRUPTED


class StoreDenied(StoreError):
    """Wrong, expired or insufficient credentials, a missing bucket, no permission."""

    exit_code = BAD_CONFIG


class StoreUnfit(StoreError):
    """The store ignores conditional writes, so that no commit in it would be safe."""

    exit_code = BAD_CONFIG


class Conflict(StoreError):
    """A create or swap found another version than the expected one."""


class NotFound(StoreError):
    """No object under this key. An answer of the store, not a failure: retrying is useless."""


class ServiceError(MimirError):
    """A service on the network cannot be reached, or does not give a whole answer."""

    exit_code = INTERRUPTED


class Corrupt(MimirError):
    """An object's bytes differ from the committed size or digest."""

    exit_code = INTERRUPTED


class Fenced(MimirError):
    """A newer attempt or another process owns the run."""

    exit_code = FENCED


class NonFinite(MimirError):
    """Training produced NaN or infinity, of which nothing was committed; or a model gives them."""

    exit_code = NON_FINITE


class MachineUnfit(MimirError):
    """The machine is less than what was ordered; the fault is its host's, not the run's."""

    exit_code = HOST_UNFIT


class Interrupted(MimirError):
    """Training was asked to stop and did, after committing what it could."""

    exit_code = INTERRUPTED


def sentence(error: BaseException) -> str:
    """What to tell of an error on one line: its message, and its class if it is none of ours.

    For loops that go on with the next item after any error.
    """
    if isinstance(error, MimirError):
        return str(error)
    return f"this is a fault of Mimir's, {type(error).__name__}: {error}"
