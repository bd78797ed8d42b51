"""Runs in a bucket, through a network that fails: what comes out is what an undisturbed run gives.

The worker talks to an S3 server through a proxy that injects faults; the tests look at the
server directly. Both are on 127.0.0.1.
"""

import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mimir.runs.begin import raise_attempt
from mimir.runs.notes import read_heartbeat, read_outcome
from mimir.runs.parts import read_parts
from mimir.runs.status import derive, read_head
from mimir.runs.store import Store, open_store
from tests.e2e import jobs
from tests.gates import Gate
from tests.servers.faults import Faults
from tests.servers.moto_server import serving
from tests.waiting import LIMIT, wait_for

AWAY = 100
"""Steps that an attempt may take before it is killed."""
SEED = random.SystemRandom().randrange(2**32)
KEY, SECRET, TOKEN = "PLANTEDKEYID", "planted-secret-key", "planted-session-token"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with serving() as endpoint:
        yield endpoint


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def bucket(moto: str, keys: None, request: pytest.FixtureRequest) -> str:
    """URL of an empty store, directly at the server."""
    import boto3

    name = f"b{abs(hash(request.node.name)):x}"[:20]
    client = boto3.client("s3", endpoint_url=moto, region_name="us-east-1")
    client.create_bucket(Bucket=name)
    client.close()
    return f"s3://{name}/mimir?endpoint={moto}&region=us-east-1"


@pytest.fixture
def store(bucket: str) -> Store:
    return open_store(bucket)


@pytest.fixture
def calm(tmp_path: Path) -> Store:
    """Where undisturbed runs are trained: a store does not show in what comes out."""
    return open_store((tmp_path / "calm").as_uri())


@pytest.fixture
def faults(moto: str) -> Iterator[Faults]:
    print(f"faults and moments are drawn from seed {SEED}")
    proxy = Faults(moto, SEED, rate=0.1)
    yield proxy
    proxy.close()


@pytest.fixture
def far(bucket: str, moto: str, faults: Faults) -> Store:
    """The same store, through the faults."""
    return open_store(bucket.replace(moto, faults.endpoint))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return jobs.write_data(tmp_path / "data.csv", 200)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Open until a test holds training at a step."""
    gate = Gate(tmp_path / "gate")
    gate.open()
    return gate


@pytest.fixture
def begin(
    store: Store, far: Store, tmp_path: Path, gate: Gate
) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Starts a worker of the run's next attempt, held at the gate; none outlives the test."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(name: str, *options: str) -> "subprocess.Popen[bytes]":
        attempt = raise_attempt(store, name)
        out = tmp_path / f"{name}.out"
        begun.append(jobs.worker(far, name, attempt, *options, out=out, gate=gate))
        return begun[-1]

    yield begin
    for process in begun:
        if process.poll() is None:
            jobs.kill(process)


def step_of(store: Store, name: str) -> int:
    return read_head(store, name).step


def logged(tmp_path: Path, name: str) -> str:
    return (tmp_path / f"{name}.out").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.long)])
def test_killed_at_random_moments_behind_faults(
    store: Store, calm: Store, faults: Faults, gate: Gate, begin: Callable, data: Path, kills: int
) -> None:
    """In turn the whole machine dies, and the training alone; then its worker writes an outcome."""
    settings = {**jobs.ENDLESS, "max_steps": (kills + 1) * AWAY}
    jobs.submit(store, "torn", data, **settings)
    jobs.submit(calm, "calm", data, **settings)
    assert jobs.train(calm, "calm")[0]

    moments = random.Random(SEED)
    for number in range(kills):
        before = step_of(store, "torn")
        gate.open(before + AWAY)
        process = begin("torn")
        if number % 4 < 2:
            time.sleep(moments.uniform(0, 4))  # while it starts, claims and fetches
        else:
            wait_for(
                lambda: step_of(store, "torn") > before or process.poll() is not None,  # noqa: B023
                f"a commit (seed {SEED})",
            )
            time.sleep(moments.uniform(0, 0.3))
        assert process.poll() is None, f"ended before it was killed (seed {SEED})"
        if number % 2:
            jobs.kill(process)
            continue
        wait_for(lambda: jobs.kill_training(process), "its training")  # noqa: B023
        assert process.wait(timeout=LIMIT) == 75
        outcome = read_outcome(store, "torn", number + 1)
        assert outcome is not None, f"no outcome (seed {SEED})"
        assert "killed by SIGKILL" in outcome.reason
    gate.open()
    assert finish(begin, "torn") == 0
    assert faults.share >= 0.05, faults.counts
    last = read_outcome(store, "torn", read_head(store, "torn").attempt)
    assert last is not None
    assert last.exit_code == 0
    assert len(derive(store, "torn", time.time()).attempts) > kills
    jobs.assert_same(store, "torn", "calm", calm)
    print(f"{kills} kills, {faults.share:.1%} of {faults.counts.total()} requests: {faults.counts}")


def finish(begin: Callable, name: str) -> int:
    """Exit code of the last worker; one that meets an outage it cannot bridge ends with 75."""
    for _ in range(3):
        code = begin(name).wait(timeout=LIMIT)
        if code != 75:
            break
    return code


def test_two_live_workers_one_is_fenced(
    store: Store, calm: Store, gate: Gate, begin: Callable, data: Path
) -> None:
    settings = {**jobs.ENDLESS, "max_steps": 400}
    jobs.submit(store, "torn", data, **settings)
    jobs.submit(calm, "calm", data, **settings)
    assert jobs.train(calm, "calm")[0]
    gate.open(100)
    first = begin("torn")
    wait_for(lambda: step_of(store, "torn") > 0, "the first commit")
    second = begin("torn")
    gate.open()
    assert first.wait(timeout=LIMIT) == 76
    assert second.wait(timeout=LIMIT) == 0
    jobs.assert_same(store, "torn", "calm", calm)


def test_a_store_that_is_away_for_a_while_stops_no_training(
    store: Store, faults: Faults, begin: Callable, data: Path, tmp_path: Path
) -> None:
    faults.rate = 0.0
    jobs.submit(store, "run", data, **jobs.ENDLESS)
    process = begin("run")
    wait_for(lambda: step_of(store, "run") > 0, "the first commit")
    with faults.refusing():
        wait_for(lambda: "not committed yet" in logged(tmp_path, "run"), "a complaint")
        before = step_of(store, "run")
        time.sleep(3)
        assert step_of(store, "run") == before
        assert process.poll() is None
    wait_for(lambda: step_of(store, "run") > before + 50, "commits after the outage")
    process.terminate()
    assert process.wait(timeout=LIMIT) == 75
    heartbeat = read_heartbeat(store, "run", 1)
    assert heartbeat is not None
    assert derive(store, "run", time.time()).state == "interrupted"
    # Every row of metrics is there: those of the outage waited for its end.
    steps = {row["step"] for row in jobs.history(store, "run") if "loss" in row}
    assert steps >= set(range(2, step_of(store, "run"), 2))


def test_a_store_that_stays_away_ends_training_with_its_last_checkpoint_intact(
    store: Store, faults: Faults, begin: Callable, data: Path, tmp_path: Path
) -> None:
    faults.rate = 0.0
    jobs.submit(store, "run", data, **jobs.ENDLESS)
    process = begin("run", "--patience", "3")
    wait_for(lambda: step_of(store, "run") > 0, "the first commit")
    with faults.refusing():
        assert process.wait(timeout=LIMIT) == 75
    assert "no checkpoint could be committed for 3 s" in logged(tmp_path, "run")
    assert jobs.final_state(store, "run")
    # It could not say so to the store: the run is not failed, and goes on.
    before = step_of(store, "run")
    process = begin("run")
    wait_for(lambda: step_of(store, "run") > before, "a commit of the next attempt")


def write_keys(path: Path, key: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(
        json.dumps({"AccessKeyId": key, "SecretAccessKey": SECRET, "SessionToken": TOKEN})
    )
    fresh.replace(path)


def test_expired_keys_are_healed_by_a_fresh_file(
    store: Store, faults: Faults, begin: Callable, data: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    faults.rate = 0.0
    jobs.submit(store, "run", data, **jobs.ENDLESS)
    path = tmp_path / "keys.json"
    write_keys(path, "FIRST")
    monkeypatch.setenv("MIMIR_CREDENTIALS_FILE", str(path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)  # the store of the test has its own already
    process = begin("run")
    wait_for(lambda: step_of(store, "run") > 0, "the first commit")
    faults.expired.add("FIRST")
    wait_for(lambda: "credentials have expired" in logged(tmp_path, "run"), "a complaint")
    before = step_of(store, "run")
    time.sleep(2)
    assert process.poll() is None
    write_keys(path, "SECOND")
    wait_for(lambda: step_of(store, "run") > before + 50, "commits with fresh keys")


def test_expired_keys_end_training_as_an_outage_does(
    store: Store, faults: Faults, begin: Callable, data: Path, tmp_path: Path
) -> None:
    faults.rate = 0.0
    jobs.submit(store, "run", data, **jobs.ENDLESS)
    process = begin("run", "--patience", "3")
    wait_for(lambda: step_of(store, "run") > 0, "the first commit")
    faults.expired.add(KEY)
    assert process.wait(timeout=LIMIT) == 75  # and not 78: the configuration is as good as before
    assert "credentials have expired" in logged(tmp_path, "run")
    assert jobs.final_state(store, "run")


def test_wrong_keys_at_the_start_end_with_78(
    store: Store, faults: Faults, begin: Callable, data: Path, tmp_path: Path
) -> None:
    faults.rate = 0.0
    jobs.submit(store, "run", data, **jobs.ENDLESS)
    faults.expired.add(KEY)
    assert begin("run").wait(timeout=LIMIT) == 78
    assert logged(tmp_path, "run").count("\n") == 1
    assert "have expired" in logged(tmp_path, "run")


def test_no_secret_is_left_anywhere(
    store: Store, faults: Faults, gate: Gate, begin: Callable, data: Path, tmp_path: Path
) -> None:
    """In no object, no output, no argument: neither of a run that does well nor of failing ones."""
    jobs.submit(store, "run", data, **{**jobs.ENDLESS, "max_steps": 300})
    argv: list[bytes] = []
    rate, faults.rate = faults.rate, 0.0  # with so little patience the faults alone may end a run
    gate.open(100)
    process = begin("run", "--patience", "3")
    wait_for(lambda: step_of(store, "run") > 0 or collect(process.pid, argv), "the first commit")
    faults.expired.add(KEY)
    gate.open(200)
    assert process.wait(timeout=LIMIT) == 75
    assert begin("run").wait(timeout=LIMIT) == 78
    faults.expired.clear()
    faults.rate = rate
    gate.open()
    process = begin("run")
    while process.poll() is None:
        collect(process.pid, argv)
        time.sleep(0.1)
    assert process.returncode == 0

    assert any(b"mimir.worker.attempt" in words for words in argv)
    objects = {key: store.get(key) for key in store.list("")}
    model = read_head(store, "run").model
    assert model is not None
    assert model.key in objects
    files = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    places = {**objects, **files, **{f"argv {n}": words for n, words in enumerate(argv)}}
    assert "credentials have expired" in logged(tmp_path, "run")
    for secret in (KEY, SECRET, TOKEN):
        assert [place for place, text in places.items() if secret.encode() in text] == []


def collect(session: int, argv: list[bytes]) -> bool:
    """Add the arguments of all processes of a session; False."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == session:
                argv.append((folder / "cmdline").read_bytes())
        except OSError:
            continue  # it has just ended
    return False


def test_the_log_and_the_outcome_of_a_faulty_run_are_whole(
    store: Store, faults: Faults, begin: Callable, data: Path
) -> None:
    faults.rate = 0.2
    jobs.submit(store, "run", data, **{**jobs.ENDLESS, "max_steps": 300})
    assert finish(begin, "run") == 0
    attempt = read_head(store, "run").attempt
    outcome = read_outcome(store, "run", attempt)
    assert outcome is not None
    assert (outcome.exit_code, outcome.step) == (0, 300)
    log = "".join(text for _, text in read_parts(store, "run", attempt, "log"))
    assert "run run is done" in log
