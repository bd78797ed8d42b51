"""An answer in a form that an adapter does not know is an error of its service, never a traceback.

Adapters name what they expect, and a service may send anything. What an adapter cannot read must
not pass for an answer, nor end a command between an order and the record of its machine.
"""

import contextlib
from collections.abc import Iterator

from launch.contract.errors import ProviderError, UnknownOutcome
from mimir.errors import MimirError


@contextlib.contextmanager
def readable(service: str, *, ordering: bool = False) -> Iterator[None]:
    """Turn whatever an adapter did not expect into an error of the tree.

    ordering: what is asked for may have been done, whatever the answer looked like.

    Raises:
        ProviderError: the answer cannot be read; UnknownOutcome with `ordering`.
    """
    try:
        yield
    except MimirError:
        raise
    except Exception as error:
        words = f"{service}'s answer has a form that is not known here ({_named(error)})"
        if ordering:
            raise UnknownOutcome(words) from error
        raise ProviderError(f"{words}: try again; if it stays, please report it") from error


def _named(error: Exception) -> str:
    """Its class and place. Its text may quote the answer."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__
    code = trace.tb_frame.f_code
    return f"{type(error).__name__} in {code.co_name}, line {trace.tb_lineno}"
