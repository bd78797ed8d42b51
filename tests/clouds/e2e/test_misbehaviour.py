"""Each misbehaviour of each service: the run is whole, nothing is left, nothing costs more."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.clouds.e2e.world import World
from tests.clouds.runpod_words import MISBEHAVIOURS as RUNPOD

Faults = tuple[tuple[str, dict[str, Any]], ...]

ASK, LISTED, INSTANCE = r"/asks/\d+", r"^/api/v1/instances", r"^/api/v0/instances/\d+"
VAST: dict[str, Faults] = {
    "timeout after a create that succeeded": (("lost_after", {"path": ASK}),),
    "500 after a create that succeeded": (("error_after", {"path": ASK}),),
    "create hangs up, nothing made": (("hang_up", {"path": ASK}),),
    "offer gone, 404": (("no_such_ask_404", {}),),
    "offer gone, 410": (("no_such_ask_410", {}),),
    "offer gone, said as invalid_args": (("no_such_ask_hidden", {}),),
    "error with an instance id in it": (("leaked", {}),),
    "success without an id": (("nameless", {}),),
    "dearer than offered": (("dearer", {}),),
    "HTML 403 on create": (("html_403", {"path": ASK}),),
    "HTML 403 on a look": (("html_403", {"method": "GET", "path": INSTANCE}),),
    "HTML 200 on a look": (("html_200", {"method": "GET", "path": INSTANCE}),),
    "stuck provisioning": (("stuck", {}),),
    "container that cannot start": (("oci", {}),),
    "unknown status": (("odd_status", {}),),
    "deprecated list": (("deprecated_list", {}),),
    "partial list": (("partial_list", {}), ("lost_after", {"path": ASK})),
    "list fails": (("error", {"path": LISTED}),),
    "search unfiltered": (("unfiltered", {}),),
    "200 that denies success": (("denied", {"method": "GET", "path": INSTANCE}),),
    "DELETE 500 then 404": (("error_after", {"method": "DELETE"}),),
    "DELETE lost": (("hang_up", {"method": "DELETE"}),),
    "429 in plain text": (("plain_429", {"method": "GET"}),),
}
LAUNCH, TERMINATE, ALL, ONE = "/launch$", "/terminate$", "/instances$", "/instances/"
LAMBDA: dict[str, Faults] = {
    "timeout after a launch that succeeded": (("lost_after", {"path": LAUNCH}),),
    "500 after a launch that succeeded": (("error_after", {"path": LAUNCH}),),
    "400 unknown after a launch that succeeded": (("unknown_after", {"path": LAUNCH}),),
    "launch hangs up, nothing made": (("hang_up", {"path": LAUNCH}),),
    "no capacity, whatever the list says": (("no_capacity", {}),),
    "success without an id": (("nameless", {}),),
    "stuck in booting": (("stuck", {}),),
    "unhealthy": (("unhealthy", {}),),
    "unknown status": (("odd_status", {}),),
    "no address at first": (("no_address", {}),),
    "HTML 403 on launch": (("html_403", {"path": LAUNCH}),),
    "HTML 403 on a look": (("html_403", {"method": "GET", "path": ONE}),),
    "429 in plain text": (("plain_429", {"method": "GET"}),),
    "429 on launch": (("plain_429", {"path": LAUNCH}),),
    "list of nothing": (("null_list", {}),),
    "list with a nameless row": (("nameless_row", {}), ("lost_after", {"path": LAUNCH})),
    "list fails": (("error", {"path": ALL}),),
    "terminate does not name it": (("not_listed", {}),),
    "terminate 500, done": (("error_after", {"path": TERMINATE}),),
    "terminate lost": (("hang_up", {"path": TERMINATE}),),
    "SSH key of this name is another's": (("duplicate_key", {}),),
}
RUN, END, LOOK, ROWS = "/RunInstances$", "/TerminateInstances$", "InstanceId.1", "Filter.1.Name"
DESCRIBE = "/DescribeInstances$"
AWS: dict[str, Faults] = {
    "timeout after an order that succeeded": (("lost_after", {"path": RUN}),),
    "500 after an order that succeeded": (("error_after", {"path": RUN}),),
    "order hangs up, nothing made": (("hang_up", {"path": RUN}),),
    "answer torn": (("torn", {"path": RUN}),),
    "success without an id": (("nameless", {"path": RUN}),),
    "no capacity": (("code", {"path": RUN, "code": "InsufficientInstanceCapacity"}),),
    "price rose": (("code", {"path": RUN, "code": "SpotMaxPriceTooLow"}),),
    "quota reached": (("code", {"path": RUN, "code": "MaxSpotInstanceCountExceeded"}),),
    "not in this zone": (("code", {"path": RUN, "code": "Unsupported"}),),
    "throttled look": (("code", {"path": DESCRIBE, "code": "RequestLimitExceeded"}),),
    "not found at first": (("lag", {"path": RUN, "looks": 2}),),
    "stuck": (("stuck", {}),),
    "unknown status": (("odd_status", {}),),
    "list fails": (("error", {"path": DESCRIBE, "query": ROWS}),),
    "list of nothing": (("null_list", {"path": DESCRIBE, "query": ROWS}),),
    "look fails": (("html_403", {"path": DESCRIBE, "query": LOOK}),),
    "terminate 500, done": (("error_after", {"path": END}),),
    "terminate lost": (("hang_up", {"path": END}),),
}
INSERT: dict[str, Any] = {"method": "POST", "path": "/instances$"}
ROW: dict[str, Any] = {"method": "GET", "path": "/zones/[^/]+/instances/[^/]+$"}
OUT: dict[str, Any] = {"method": "DELETE", "path": "/instances/"}
GCP: dict[str, Faults] = {
    "timeout after an order that succeeded": (("lost_after", INSERT),),
    "500 after an order that succeeded": (("error_after", INSERT),),
    "order hangs up, nothing made": (("hang_up", INSERT),),
    "success without an operation": (("nameless", INSERT),),
    "no capacity, told by the operation": (("fails", {**INSERT, "code": "STOCKOUT"}),),
    "quota, told by the operation": (("fails", {**INSERT, "code": "QUOTA_EXCEEDED"}),),
    "failed without a word, told by the operation": (("fails", {**INSERT, "status": 503}),),
    "waits that return at once": (("early", {"path": "/wait$"}),) * 2,
    "stuck": (("stuck", INSERT),),
    "unknown status": (("odd_status", INSERT),),
    "a zone out of reach": (("unreachable", {"path": "/aggregated/instances"}),),
    "list of nothing": (("null_list", {"path": "/aggregated/instances"}),),
    "look fails": (("error", ROW),),
    "HTML 403 on a look": (("html_403", ROW),),
    "delete 500, done": (("error_after", OUT),),
    "delete lost": (("hang_up", OUT),),
    "429 in plain text": (("plain_429", {"method": "GET"}),),
}
LOST = ("lost_after", {"method": "POST", "path": "^/v2/pods$"})
"""After which the list is asked for what there may be."""
TORN = {"list torn": (LOST, *RUNPOD["list torn"]), "list fails": (LOST, *RUNPOD["list fails"])}
MISBEHAVIOURS = {
    "runpod": {**RUNPOD, **TORN},
    "vastai": VAST,
    "lambda": LAMBDA,
    "aws": AWS,
    "gcp": GCP,
}
SOON = {
    ("runpod", "timeout after a create that succeeded"),
    ("vastai", "error with an instance id in it"), ("lambda", "success without an id"),
    ("aws", "no capacity"), ("gcp", "quota, told by the operation"),
}  # fmt: skip
"""Those that are tried at every change."""
CASES = [
    pytest.param(
        provider, words, id=f"{provider}-{words}",
        marks=() if (provider, words) in SOON else pytest.mark.long,
    )
    for provider, table in MISBEHAVIOURS.items()
    for words in table
]  # fmt: skip
UNWATCHED = {"the pod's key is refused"}
"""A watcher ends a machine before it ends itself: those that are about that are left alone."""
QUICK = {"launch.contract.deadlines:BEGIN_WITHIN": 60.0}
"""Seconds that a stand-in may take to begin: on a busy computer a machine's boot, with all that is
imitated of it, was seen to take more than ten."""


def watch(words: str) -> tuple[str, ...]:
    return () if words in UNWATCHED else ("--watch",)


def happened(world: World, words: str) -> None:
    """Wait for what no command waits for."""
    if words in UNWATCHED:
        world.until(lambda: world.fake.armed() == [])


@pytest.mark.parametrize(("provider", "words"), CASES)
def test_the_run_is_whole(provider: str, words: str, make: Callable[[str], World]) -> None:
    world = make(provider)
    for name, details in MISBEHAVIOURS[provider][words]:
        world.fake.fault(name, **details)
    world.env["PATCHES"] = json.dumps(QUICK)
    submission = world.submission("r", *watch(words), "--max-cost", "2")
    code = world.spawn(*submission).wait()
    happened(world, words)
    if world.step("r") < 0:  # refused before anything was written, and said so
        assert code == 75
        world.launch(*submission)
    elif world.status("r").state == "failed":  # when a machine was ordered
        assert code == 75
        unknown = set(words.split()) & {"timeout", "500", "hangs"}
        assert not unknown, f"an unknown outcome is no end\n{world.story()}"
        world.launch("resume", "r", "--yes", "--watch")
    world.finish("r")
    world.settled(2.0)
    world.whole("r")
    assert world.fake.armed() == [], "it never happened"
