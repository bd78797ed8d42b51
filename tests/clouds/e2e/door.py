"""`python -m launch` in processes that are forked with all modules loaded, and in a hurry.

This process reads orders, a JSON object a line ({"words", "env", "folder", "out"}, or {"wait":
pid}), and answers each by a line: the process's id, or its exit status (null: it still runs).

What the launcher waits for is minutes long: a fresh order that a list does not show yet, a host
that gives no sign. Here they are seconds, and nothing else is changed. KILL_AT is the number of
a request (to the store or the provider, counted from 1), KILL_WHEN "before" or "after": there
the launcher is killed, as a laptop whose battery is empty. SKEW is the number of seconds by which
the laptop's clock is ahead.
"""

import importlib
import itertools
import json
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import botocore.httpsession
import httpx

import launch.commands.begin
import launch.commands.doctor
import launch.commands.estimate
import launch.commands.logs
import launch.commands.offers
import launch.commands.pull
import launch.commands.reap
import launch.commands.resume
import launch.commands.runs
import launch.commands.status
import launch.commands.stop
import launch.commands.submit
import launch.commands.watch
import launch.payload.cloud_init
import launch.payload.container
import launch.pricing.forecast
import launch.pricing.market
import launch.pricing.measured
import launch.providers.aws.account
import launch.providers.aws.adapter
import launch.providers.colab.provider
import launch.providers.docker.provider
import launch.providers.gcp.adapter
import launch.providers.lambda_cloud.adapter
import launch.providers.rented
import launch.providers.runpod.adapter
import launch.providers.ssh
import launch.providers.vastai.adapter
import launch.provision.choose
import launch.provision.order
import launch.provision.wait
import launch.report.download
import launch.supervise.diagnosis
import launch.supervise.log_follower
import launch.supervise.reaper
import launch.supervise.watcher
import launch.ui.confirm
import launch.ui.runs
import mimir.data.peptides
import mimir.runs.file_store
import mimir.runs.s3_store
import mimir.submission  # noqa: F401
from launch.commands import SUMMARY, TREE
from mimir import cli

HURRY: dict[str, Any] = {
    "launch.supervise.watcher:ASK_AGAIN": 0.3,
    "launch.contract.deadlines:LISTED_WITHIN": 3.0,
    "launch.contract.deadlines:FINAL_LOG_WITHIN": 3.0,
    "launch.contract.deadlines:BEGIN_WITHIN": 20.0,
    "launch.contract.deadlines:WATCH_OVERTIME": 10.0,
    "launch.contract.deadlines:SILENT_FOR": 5.0,
    "launch.contract.deadlines:BEATS_WITHIN": 1.5,
    "launch.provision.liveness:LOOK_EVERY": 0.3,
    "mimir.runs.orders:RESERVED": 3.0,
    "launch.contract.deadlines:UNRECORDED_FOR": 0.0,
    "launch.provision.wait:LOCAL_BEGINS": 30.0,
    "launch.provision.wait:ASK_SERVICE": 0.5,
    "launch.provision.wait:READ_STORE": 0.2,
    "launch.provision.wait:FIRST_HEARTBEAT": 3.0,
    "launch.supervise.log_follower:LOG_POLL": 0.3,
    "launch.supervise.log_follower:ASK": 1.0,
    "launch.supervise.log_follower:KEEP": 0.8,
    "launch.supervise.log_follower:LOG_TAIL_WITHIN": 2.0,
    "launch.commands.watch:ROUND_EVERY": 0.8,
    "launch.providers.rented:LOOKS": (0.05, 0.1, 0.3, 0.6),
    "launch.providers.rented:SHOWN_WITHIN": (0.0, 0.1, 0.3),
    "launch.providers.ending:GONE_WITHIN": 15.0,
    "launch.providers.aws.adapter:SETTLES": (0.05, 0.1, 0.3),
    "launch.providers.aws.errors:WAIT": 0.2,
    # Longer: a fake always answers, and beside many other programs only after a minute.
    "launch.pricing.market:collect(within)": 240.0,
    "launch.providers.asked_again:PAUSES": (0.05, 0.1),
    "launch.providers.gcp.errors:WAIT": 0.2,
    "launch.providers.vastai.adapter:SPACING": dict.fromkeys(
        launch.providers.vastai.adapter.SPACING, 0.0
    ),
    "launch.providers.vastai.errors:_PENALTY": 0.2,
    "launch.providers.lambda_cloud.adapter:SPACING": {"": 0.0, "launch": 0.0},
    "launch.providers.lambda_cloud.errors:LAUNCH_PAUSE": 0.2,
}
"""module:name, or module:function(option) for a default -> the value here. In the
environment, PATCHES is JSON of the same kind."""


def main() -> None:
    """Fork a process for each order, until there are no more."""
    launch.providers.aws.account._loader().load_service_model("ec2", "service-2")
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = _status(order["wait"])
        else:
            answer = os.fork()
            if answer == 0:
                run(**order)
        print(json.dumps(answer), flush=True)


def _status(pid: int) -> int | None:
    """As of subprocess: negative for a signal."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def run(words: Sequence[str], env: Mapping[str, str], folder: str, out: str) -> NoReturn:
    """Run the command in this process; what it prints goes to the files out.out and out.err."""
    os.setsid()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _to_files(out)
    hurry(env)
    right, skew = time.time, float(env.get("SKEW", "0"))
    time.time = lambda: right() + skew
    count = itertools.count(1)
    httpx.Client.send = _counted(httpx.Client.send, count)  # type: ignore[method-assign]
    session = botocore.httpsession.URLLib3Session
    session.send = _counted(session.send, count)
    sys.argv = ["launch", *words]
    code = 0
    try:
        cli.main("python -m launch", SUMMARY, TREE)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 - what is printed is all that is left of it
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def hurry(env: Mapping[str, str]) -> None:
    """Have this process wait for seconds where a launcher waits for minutes."""
    for name, value in {**HURRY, **json.loads(env.get("PATCHES", "{}"))}.items():
        _patch(name, value)


def _patch(name: str, value: Any) -> None:
    module, attribute, option = re.fullmatch(r"(.+):(\w+)(?:\((\w+)\))?", name).groups()  # type: ignore[union-attr]
    loaded = importlib.import_module(module)
    assert hasattr(loaded, attribute), name
    if option:
        defaults = getattr(loaded, attribute).__kwdefaults__
        assert option in defaults, name
        defaults[option] = value
    else:
        setattr(loaded, attribute, value)


def _to_files(out: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, name in ((0, os.devnull), (1, f"{out}.out"), (2, f"{out}.err")):
        os.dup2(os.open(name, os.O_RDONLY if number == 0 else flags, 0o600), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115


def _counted(send: Callable[..., Any], count: "itertools.count[int]") -> Callable[..., Any]:
    at, when = int(os.environ.get("KILL_AT", "0")), os.environ.get("KILL_WHEN", "")

    def counted(*words: Any, **options: Any) -> Any:
        number = next(count)
        if number == at and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = send(*words, **options)
        if number == at:
            os.kill(os.getpid(), signal.SIGKILL)
        if "COUNTED" in os.environ:
            with open(os.environ["COUNTED"], "w") as file:
                file.write(str(number))
        return answer

    return counted


if __name__ == "__main__":
    main()
