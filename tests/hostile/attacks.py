"""What a machine writes. `tells` is what the user must be told, "" for what does no harm."""

import io
import json
import os
import platform
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.hostile.ground import CODE, DATA, Machine2, as_bytes, heartbeat, outcome, unended

EVIL = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202e\u2066\x9b31m\r<script>alert(1)</script>"
DEEP = "[" * 100_000
FOREIGN = {
    "provider": "docker", "started": 1.0, "id": "i1", "name": "mimir-alpha-a0001",
    "host": platform.node(), "pid": os.getpid(), "price": 0, "deadline": 9e12,
    "container": "database", "keys": os.path.expanduser("~"), "folder": "/",
}  # fmt: skip
ORDER = {
    "provider": "docker", "time": 0, "deadline": 9e12, "since": 0,
    "plan": {
        "providers": ["docker"], "limits": {"max_cost": 1e6}, "image": "evil/image",
        "static_keys": True, "role": "", "gpus": [], "spot": True, "steps": 1,
    },
}  # fmt: skip
DIGEST = "0" * 64
ZULU = {"key": "zulu/HEAD", "step": 16, "attempt": 2, "size": 5, "sha256": DIGEST, "loss": None}


@dataclass(frozen=True)
class Attack:
    """act: what the machine writes. refused: the store does not let it happen. tells: as above.

    spares: the run itself goes on as if nothing had been written. old: done with the keys of the
    attempt before.
    """

    name: str
    act: Callable[[Machine2], None]
    refused: bool = False
    tells: str = ""
    spares: bool = False

    @property
    def old(self) -> bool:
        return self.name.startswith("old keys")


def _put(key: str, body: Any, by: str = "store") -> Callable[[Machine2], None]:
    return lambda m: getattr(m, by).put(key, as_bytes(body))


def _delete(key: str, by: str = "store") -> Callable[[Machine2], None]:
    return lambda m: getattr(m, by).delete(key)


def _own(name: str, body: Any) -> Callable[[Machine2], None]:
    return lambda m: m.own(name, body)


def _head(body: Any = None, **changes: Any) -> Callable[[Machine2], None]:
    return lambda m: m.head(body, **changes)


def _beat(**changes: Any) -> Callable[[Machine2], None]:
    return lambda m: m.own("heartbeat.json", heartbeat(**changes))


def _outcome(**changes: Any) -> Callable[[Machine2], None]:
    return lambda m: m.own("outcome.json", outcome(**changes))


def _kept(**changes: Any) -> Callable[[Machine2], None]:
    """HEAD as it is, but its newest checkpoint with these changes, which HEAD's step follows."""

    def act(m: Machine2) -> None:
        head = _now(m)
        newest = {**head["kept"][-1], **changes}
        m.head(kept=[*head["kept"][:-1], newest], best=None, step=newest["step"])

    return act


def _now(m: Machine2) -> dict[str, Any]:
    found = m.store.read("mid/HEAD")
    try:
        return json.loads(found.data) if found else {}
    except ValueError:
        return {"kept": [ZULU]}


def _model(content: bytes, **changes: Any) -> Callable[[Machine2], None]:
    def act(m: Machine2) -> None:
        stored = m.store.put_content(
            f"mid/a0002/model-{time.time_ns():012x}-model.safetensors", content
        )
        m.head(state="done", reason=EVIL, model={**stored.__dict__, **changes})

    return act


def _archive(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return out.getvalue()


def _vanish(m: Machine2) -> None:
    for key in list(m.store.list("mid/a0002/")):
        m.store.delete(key)


def _loop_of_evictions(m: Machine2) -> None:
    _outcome(cause="signal", reason="taken away")(m)
    m.head(lineage=[[1, 0], [2, 14]])


def _false_hash(m: Machine2) -> None:
    for key in list(m.store.list("mid/a0002/s")):
        m.store.put(key, b"other bytes")


# A1 to A3: what is the launcher's. The store refuses it; beside it, it is read by nobody.
_LAUNCHERS = [
    Attack(f"{what} {where}", act, refused="refused" in where, spares=True)
    for what, path, body in (
        ("order", "order.json", ORDER), ("machine", "machine.json", FOREIGN),
        ("gone", "gone.json", {"time": 0, "kind": "eviction", "why": "no"}),
        ("stop", "stop.json", {"time": 0, "reason": "no"}),
        ("final", "final.json", {"model": None, "step": 9}),
    )
    for where, act in (
        ("in its place, refused", _put(f"mid/launcher/a0002/{path}", body)),
        ("of the next attempt, refused", _put(f"mid/launcher/a0003/{path}", body)),
        ("in its own folder", _own(path, body)),
        ("in a folder like the launcher's", _own(f"launcher/a0003/{path}", body)),
    )
]  # fmt: skip
_REFUSED = [
    Attack(name, act, refused=True, spares=True)
    for name, act in (
        ("the run's seal", _put("mid/launcher/final.json", {"model": None})),
        ("order deleted", _delete("mid/launcher/a0002/order.json")),
        ("machine deleted", _delete("mid/launcher/a0002/machine.json")),
        ("first attempt's order deleted", _delete("mid/launcher/a0001/order.json")),
        ("gone of the first attempt deleted", _delete("mid/launcher/a0001/gone.json")),
        ("record edited", _put("mid/run.json", {"name": "mid"})),
        ("record deleted", _delete("mid/run.json")),
        ("HEAD deleted", _delete("mid/HEAD")),
        ("code replaced", _put(f"mid/code/{CODE}-mimir.whl", b"evil")),
        ("code added", _put("mid/code/numpy.py", b"evil")),
        ("data replaced", _put(f"mid/data/{DATA}-data.safetensors", b"evil")),
        ("data deleted", _delete(f"mid/data/{DATA}-data.safetensors")),
        ("a neighbour's HEAD", _put("zulu/HEAD", {})),
        ("a neighbour's heartbeat", _put("zulu/a0001/heartbeat.json", heartbeat())),
        ("a neighbour's machine", _put("zulu/launcher/a0001/gone.json", {})),
        ("a neighbour's order", _put("zulu/launcher/a0002/order.json", ORDER)),
        ("a neighbour deleted", _delete("zulu/run.json")),
        ("a neighbour listed", lambda m: list(m.store.list("zulu/"))),
        ("all runs listed", lambda m: list(m.store.folders())),
        ("a neighbour read", lambda m: m.store.read("zulu/HEAD")),
        ("a run of its own", _put("evil/run.json", {"name": "evil"})),
        ("keys on their way listed", lambda m: list(m.store.list("_keys/"))),
        ("keys on their way read", lambda m: m.store.read("_keys/mid/a0002-f00.json")),
        ("hosts that failed forgotten", _delete("_launcher/failed_hosts.json")),
        ("hosts that failed invented", _put("_launcher/failed_hosts.json", {"hosts": []})),
        ("keys on their way replaced", _put("_keys/mid/a0002-f00.json", b"x")),
        ("the first attempt's heartbeat", _put("mid/a0001/heartbeat.json", heartbeat())),
        ("the first attempt's outcome", _put("mid/a0001/outcome.json", {})),
        ("the next attempt's heartbeat", _put("mid/a0003/heartbeat.json", heartbeat())),
        ("an attempt of a like name", _put("mid/a00021/heartbeat.json", heartbeat())),
        ("a file of the run's own", _put("mid/report.html", EVIL)),
        ("old keys: the new heartbeat", _put("mid/a0002/heartbeat.json", heartbeat(), "old")),
        ("old keys: the new outcome", _put("mid/a0002/outcome.json", {}, "old")),
        ("old keys: the new model", _put("mid/a0002/model-000000000000-m", b"x", "old")),
        ("old keys: the new log", _put("mid/a0002/log/000009.txt", EVIL, "old")),
        ("old keys: the new order", _put("mid/launcher/a0002/order.json", ORDER, "old")),
    )
]  # fmt: skip


def _event(**changes: object) -> dict[str, object]:
    return {"time": 1.0, "level": "error", "kind": "disk", "text": "full", **changes}


# A4: documents that are none, and such as are too much.
_BEATS = [
    Attack(f"heartbeat: {name}", act, spares=True)
    for name, act in (
        ("no JSON", _own("heartbeat.json", b"\xff\x00{")), ("empty", _own("heartbeat.json", b"")),
        ("a list", _own("heartbeat.json", [1])), ("deep", _own("heartbeat.json", DEEP)),
        ("deep objects", _own("heartbeat.json", '{"a":' * 50_000)),
        ("large", _own("heartbeat.json", b'{"time":"' + b"x" * (3 << 20) + b'"}')),
        ("many digits", _own("heartbeat.json", '{"time":' + "9" * 100_000 + "}")),
        ("another format", _beat(format=99)),
        ("names twice", _own("heartbeat.json", '{"time":1,"time":2}')),
        ("half a surrogate", _own("heartbeat.json", '{"host":"\\ud800"}')),
        ("missing fields", _own("heartbeat.json", {"time": 1})),
        ("time text", _beat(time="x")), ("time NaN", _beat(time=float("nan"))),
        ("time infinite", _beat(time=float("inf"))), ("time far", _beat(time=1e300)),
        ("time long past", _beat(time=-1e18)), ("step negative", _beat(step=-1)),
        ("step huge", _beat(step=10**30)), ("step beyond the end", _beat(step=10**12)),
        ("total zero", _beat(total_steps=0)), ("total negative", _beat(total_steps=-5)),
        ("total huge", _beat(total_steps=10**15)), ("rate zero", _beat(rate=0)),
        ("rate tiny", _beat(rate=5e-324)), ("rate negative", _beat(rate=-1.0)),
        ("rate huge", _beat(rate=1e308)), ("interval zero", _beat(interval_s=0)),
        ("interval negative", _beat(interval_s=-1)), ("interval for ever", _beat(interval_s=1e300)),
        ("loss infinite", _beat(loss=float("inf"))), ("a pid of the laptop", _beat(
            pid=os.getpid(), host=platform.node())),
        ("figures unknown", _beat(figures={EVIL: 1.0, "x" * 10_000: 2.0})),
        ("figures text", _beat(figures={"auroc": EVIL})), ("figures a list", _beat(figures=[1])),
        ("device evil", _beat(device=EVIL, host=EVIL)), ("device a list", _beat(device=[1])),
        ("telemetry text", _beat(telemetry=EVIL)), ("telemetry beyond", _beat(
            telemetry={"seconds": -1, "gpu_busy": 1e300})),
        ("telemetry evil", _beat(telemetry={"seconds": 5.0, "warnings": [
            {"kind": "disk", "since": -1e15, "text": EVIL[:300]}]})),
        ("a plan within", _beat(**ORDER)), ("a machine within", _beat(**FOREIGN)),
    )
]  # fmt: skip
_NOTES = [
    Attack(f"{file}: {name}", _own(f"{file}.json", body))
    for file, good in (("outcome", outcome), ("unended", unended))
    for name, body in (
        ("no JSON", b"\x00"), ("deep", DEEP), ("another format", good(format=99)),
        ("of text", good(exit_code="0", reason=5, time="x", step="y")),
        ("huge numbers", good(exit_code=10**40, time=1e300, step=-1)),
        ("names a foreign machine", good(**{**FOREIGN, "reason": "end i1"})),
    )
] + [
    Attack(f"alerts: {name}", _own("alerts.json", body))
    for name, body in (
        ("no JSON", b"\x00"), ("deep", DEEP), ("another format", {"format": 99, "events": []}),
        ("too many", {"format": 1, "events": [_event()] * 10_000}),
        ("of text", {"format": 1, "events": EVIL}), ("a level of its own", _event(level=EVIL)),
        ("evil text", {"format": 1, "events": [_event(text=EVIL[:300])]}),
        ("the launcher's kind", {"format": 1, "events": [_event(kind="done")]}),
        ("in the far future", {"format": 1, "events": [_event(time=1e11)]}),
    )
] + [
    Attack("outcome: evil text", _outcome(reason=EVIL * 200)),
    Attack("outcome: an unknown code", _outcome(exit_code=-9)),
    Attack("outcome: fenced", _outcome(exit_code=76)),
    Attack("outcome: non-finite", _outcome(exit_code=77, reason=EVIL)),
    Attack("outcome: evicted, again and again", _loop_of_evictions),
    Attack("outcome: done, but HEAD is not", _outcome(exit_code=0)),
    Attack("outcome: in the far future", _outcome(time=4e12)),
    Attack("unended: evil text", _own("unended.json", unended(reason=EVIL))),
]  # fmt: skip
# A6: HEAD, the one object that both write.
_HEADS = [
    Attack(f"HEAD: {name}", act, tells=tells)
    for name, tells, act in (
        ("no JSON", "HEAD", _head(b"\xff{")), ("empty", "HEAD", _head(b"")),
        ("a list", "HEAD", _head([1])), ("deep", "HEAD", _head(DEEP)),
        ("large", "HEAD", _head(b'{"run":"' + b"x" * (3 << 20) + b'"}')),
        ("another format", "HEAD|format", _head(format=99)),
        ("of another run", "HEAD", _head(run="zulu")),
        ("of no run", "HEAD", _head(run="../zulu")),
        ("attempt 10**7", "HEAD|never ordered", _head(attempt=10**7)),
        ("attempt 5 further", "HEAD|never ordered", _head(attempt=7)),
        ("the next attempt", "HEAD|never ordered", _head(attempt=3)),
        ("the attempt before", "HEAD", _head(attempt=1)),
        ("the attempt before, done", "HEAD", _head(attempt=1, state="done")),
        ("no attempt", "HEAD", _head(attempt=0, state="queued")),
        ("attempt text", "HEAD", _head(attempt="2")),
        ("attempt negative", "HEAD", _head(attempt=-1)),
        ("attempt NaN", "HEAD", _head(attempt=float("nan"))),
        ("state unknown", "HEAD", _head(state="paused")),
        ("begun anew", "HEAD|step", _head(step=0, kept=[], best=None)),
        ("nothing kept at step 21", "HEAD|step", _head(step=21, kept=[], best=None)),
        ("back to an older step", "HEAD|step", lambda m: m.head(
            step=1, best=None, kept=[{**_now(m)["kept"][-1], "step": 1}])),
        ("another run's HEAD kept", "HEAD|zulu", lambda m: m.head(
            step=16, kept=[*_now(m)["kept"], ZULU])),
        ("another run's HEAD alone", "HEAD|zulu", _head(step=16, kept=[ZULU], best=None)),
        ("a key that leaves the store", "HEAD", _kept(key="mid/a0002/../../zulu/run.json")),
        ("an absolute key", "HEAD", _kept(key="/etc/passwd")),
        ("an order kept", "HEAD", _kept(key="mid/launcher/a0002/order.json")),
        ("a key of another step", "HEAD", _kept(step=99)),
        ("a key of another attempt", "HEAD", _kept(attempt=1)),
        ("a checkpoint of another run", "HEAD", _kept(
            key="zulu/a0001/s00000010-0123456789ab.safetensors", step=10)),
        ("a false size", "", _kept(size=10**15)), ("a negative size", "HEAD", _kept(size=-1)),
        ("a false digest", "", _kept(sha256=DIGEST)), ("no digest", "HEAD", _kept(sha256="x")),
        ("loss NaN", "HEAD", _kept(loss=float("nan"))), ("loss text", "HEAD", _kept(loss=EVIL)),
        ("best unknown", "HEAD", _head(best="zulu/HEAD")),
        ("best a list", "HEAD", _head(best=[1])),
        ("lineage of millions", "HEAD", _head(lineage=[[n, 0] for n in range(1, 20_000)])),
        ("lineage out of order", "", _head(lineage=[[2, 5], [1, 9], [2, -5]])),
        ("lineage text", "HEAD", _head(lineage=[["x", "y"]])),
        ("step beyond the end", "HEAD|step", _head(step=10**12)),
        ("evil words", "", _head(state="failed", reason=EVIL, owner=EVIL, nonce=EVIL)),
        ("words without end", "", _head(state="failed", reason="x" * 500_000)),
        ("stopped", "stopped", _head(state="stopped", reason="asked to stop")),
        ("failed", "failed", _head(state="failed", reason="no")),
        ("done without a model", "done", _head(state="done", reason="finished")),
        ("done, a false digest", "", lambda m: _model(b"weights", sha256=DIGEST)(m)),
        ("done, a false size", "", lambda m: _model(b"weights", size=10**15)(m)),
        ("done, the record as a model", "", _head(
            state="done", model={"key": "mid/run.json", "size": 5, "sha256": DIGEST})),
        ("done, another run's data as a model", "", _head(
            state="done", model={"key": "zulu/HEAD", "size": 5, "sha256": DIGEST})),
        ("model a list", "HEAD", _head(model=[1])),
        ("of the old keys: the attempt before", "HEAD", lambda m: m.head(by="old", attempt=1)),
        ("of the old keys: done", "", lambda m: m.head(by="old", attempt=1, state="done")),
        ("of the old keys: attempt 9", "HEAD", lambda m: m.head(by="old", attempt=9)),
    )
]  # fmt: skip
# A7 and A8: what it uploads.
_CONTENTS = [
    Attack("own checkpoints replaced", _false_hash),
    Attack("all its objects deleted", _vanish),
    Attack("old keys: old checkpoints replaced", lambda m: [
        m.old.put(key, b"x") for key in list(m.old.list("mid/a0001/s"))] and None),
    Attack("model: a pickle", _model(b"\x80\x04cos\nsystem\n")),
    Attack("model: an archive with programs and links", _model(_archive(**{
        "numpy.py": b"evil", "../../evil.py": b"evil", "/tmp/evil": b"x", "\u202egnp.py": b"x",
        "config.json": b'{"model":{"layers":1000000000,"dim":1000000000}}', "report.html": b"x",
        "model.safetensors": b"\xff" * 8 + b"{}", ".bashrc": b"x"}))),
    Attack("model: an absurd header", _model((10**15).to_bytes(8, "little") + b"{}")),
    Attack("report: a page with scripts", _own("report.html", f"<html>{EVIL}</html>"), spares=True),
    Attack("log: acts on the terminal", _own("log/000002.txt", EVIL * 50), spares=True),
    Attack("log: no text", _own("log/000002.txt", bytes(range(256)) * 9), spares=True),
    Attack("log: odd names", lambda m: [
        m.own(f"log/{name}", EVIL) for name in (
            "000003.txt/evil", "9999999999999999999999.txt", "-1.txt", "x.txt", "\u0663.txt",
            "000004.html", "a/b/c/000005.txt")] and None, spares=True),
    Attack("log: a part of 3 MB", _own("log/000002.txt", b"x" * (3 << 20)), spares=True),
    Attack("metrics: nonsense", _own("metrics/000001.jsonl", "\n".join([
        '{"step": "x"}', '{"step": 1, "loss": "nan"}', '{"step": NaN}', DEEP, '{"step": 1e999}',
        json.dumps({"step": 3, "val": EVIL, EVIL: 1, "samples": [EVIL]}), '{"step": true}',
        '{"step": -4}', "[]", '{"step": 10000000000000000000000000000000}',
    ])), spares=True),
    Attack("metrics: another format", _own("metrics/000001.jsonl", '{"format": 99}\n{"step":1}\n')),
    Attack("objects without end", lambda m: [
        m.own(f"log/{n:06d}.txt", b"x") for n in range(3, 1500)] and None, spares=True),
    Attack("checkpoints that nobody named", lambda m: [
        m.own(f"s{n:08d}-0123456789ab.safetensors", b"x") for n in range(30)] and None,
        spares=True),
]  # fmt: skip
ATTACKS = [*_LAUNCHERS, *_REFUSED, *_BEATS, *_NOTES, *_HEADS, *_CONTENTS]
