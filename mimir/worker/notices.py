"""Watches a cloud's notice that it is about to take this machine away.

$MIMIR_NOTICES names whose machine it is; without it nobody is asked.

    aws   the instance metadata service (IMDSv2): spot/instance-action is 404 until, two minutes
          before the end, it names the action. A rebalance recommendation may come earlier; it says
          that the risk has grown, and not that the machine goes: it costs a checkpoint more.
          https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
    gcp   the metadata server: instance/preempted becomes TRUE, 30 seconds before the end.
          https://cloud.google.com/compute/docs/instances/create-use-preemptible

Tested with the stand-ins under tests/clouds, not on the real services.
"""

import contextlib
import http.client
import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping

from mimir.runs import notice
from mimir.text import one_line

VARIABLE = "MIMIR_NOTICES"
CHECKPOINT = signal.SIGUSR1
"""Asks the training process for a checkpoint while it goes on."""
_KEPT = (CHECKPOINT, signal.SIGINT)
TOGETHER = 2.0
"""Seconds within which a second signal to the training process is the same wish: a terminal or a
cluster signals all processes of a job, and the worker hands on what it got."""
EVERY = 5.0
"""Seconds between looks: AWS advises so."""
ASKING = 2.0
"""Seconds that an answer from beside the machine may take."""
TOKEN_LIVES = 21600
"""Seconds for which a token of AWS's metadata service is asked for: the most that it gives."""
MOST = 10_000
"""Bytes of an answer that are read."""
AWS = "http://169.254.169.254"
AWS_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
"""The AWS SDKs' own name for another address of the metadata service."""
GOOGLE = "metadata.google.internal"
GOOGLE_VARIABLE = "GCE_METADATA_HOST"
"""Google's own libraries' name for another host."""

Told = Callable[[str], None]


def seconds(environ: Mapping[str, str] = os.environ) -> float:
    """Of notice that this machine gets before it is taken away, 0 if nobody is asked for one."""
    return notice.SECONDS.get(environ.get(VARIABLE, ""), 0.0)


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Requests for a checkpoint, and Ctrl-C, to a process that is started within wait until it
    listens: Python's own start would answer them by its end or a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _KEPT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def listen(ask: Callable[[], None]) -> None:
    """Call this for each request for a checkpoint, also for one that waits since before."""
    signal.signal(CHECKPOINT, lambda number, frame: ask())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _KEPT)


class Notices:
    """Looks for one machine's notices.

    Args:
        take: is told once why the machine goes; the attempt should end now.
        risk: is told once that the machine may go soon; a checkpoint now would save work.
        warn: is told what else a person may want to know.
    """

    def __init__(
        self, take: Told, risk: Told, warn: Told, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._take, self._risk, self._warn, self._environ = take, risk, warn, environ
        self._look = {"aws": self._aws, "gcp": self._google}.get(environ.get(VARIABLE, ""))
        self._token, self._until = "", 0.0
        self._advised = False
        # What stands between this machine and the internet knows no metadata.
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def watch(self, ended: threading.Event) -> None:
        """Look until there is a notice or the event is set; never raises."""
        if self._look is None:
            return
        missing = False
        while True:
            try:
                if self._look():
                    return
                missing = False
            except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
                if not missing:
                    self._warn(
                        "whether this machine is to be taken away cannot be asked "
                        f"({type(error).__name__}); it is asked again"
                    )
                missing = True
            if ended.wait(EVERY):
                return

    def _aws(self) -> bool:
        base = self._environ.get(AWS_VARIABLE) or AWS
        if time.monotonic() >= self._until:
            lives = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_LIVES)}
            self._token = self._ask(f"{base}/latest/api/token", lives, "PUT") or ""
            self._until = time.monotonic() + TOKEN_LIVES / 2
        token = {"X-aws-ec2-metadata-token": self._token}
        said = self._ask(f"{base}/latest/meta-data/spot/instance-action", token)
        if said is not None:
            action = json.loads(said)
            what = action.get("action") if isinstance(action, dict) else said
            when = f" at {action['time']}" if isinstance(action, dict) and "time" in action else ""
            self._take(one_line(f"AWS takes the machine away{when} ({what})"))
            return True
        advice = f"{base}/latest/meta-data/events/recommendations/rebalance"
        if not self._advised and self._ask(advice, token) is not None:
            self._advised = True
            self._risk("AWS says that this machine is likelier than others to be taken away soon")
        return False

    def _google(self) -> bool:
        host = self._environ.get(GOOGLE_VARIABLE) or GOOGLE
        url = f"http://{host}/computeMetadata/v1/instance/preempted"
        if (self._ask(url, {"Metadata-Flavor": "Google"}) or "").strip().upper() != "TRUE":
            return False
        self._take("Google takes the machine away within 30 s")
        return True

    def _ask(self, url: str, headers: Mapping[str, str], method: str = "GET") -> str | None:
        """What it says, None for 404; OSError or HTTPException for no answer or a refusal."""
        request = urllib.request.Request(url, headers=dict(headers), method=method)
        try:
            with self._open(request, timeout=ASKING) as answer:
                said: str = answer.read(MOST).decode(errors="replace")
                return said
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            if error.code == 401:
                self._until = 0.0  # the token has ended
            raise
