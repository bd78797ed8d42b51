"""What checkpoints cost: how long they hold training up, and how fast they reach a bucket.

The state is that of a preset in full: weights, average, both moments. The server is moto's, a
process of its own on this machine, so that the figures are of our side and not of a network;
or any bucket given. Uploads alternate with boto3's own upload_file of the same bytes under
the same TransferConfig, so that a busy machine slows both alike.

    python -m bench.store
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import torch

from bench import results
from mimir import cli
from mimir.config import load_preset
from mimir.errors import BadInput
from mimir.model.denoiser import Denoiser, initialise
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.head import Head
from mimir.runs.layout import head_key
from mimir.runs.s3_content import TRANSFER
from mimir.runs.s3_store import S3Store
from mimir.runs.store import open_store
from mimir.training import checkpoint
from mimir.training.checkpoint import Record
from mimir.training.committer import Committer
from mimir.training.state import TrainingState

Took = tuple[float, float]
"""Seconds of the clock, and of this process's CPU time over all threads."""
TARGETS = 804
RUN = "bench"


def measure(
    *, preset: str = "large", blocks: int = 11, store: str = "", out: str = str(results.FOLDER)
) -> None:
    """Measure the stall of training per checkpoint, and the throughput of uploads.

    Args:
        preset: whose full state is committed.
        blocks: of one commit, one upload of ours and one of boto3's.
        store: an s3:// URL; what is written below its prefix is deleted (default: moto, here).
        out: folder for the result file.

    Example:
        python -m bench.store --blocks 3
    """
    if blocks < 1:
        raise BadInput(f"--blocks is {blocks}, but must be at least 1")
    with server(store) as url:
        opened = open_store(url)
        if not isinstance(opened, S3Store):
            raise BadInput(f"{url} is no bucket: this measures s3:// stores")
        result = _measure(opened, preset, blocks)
    result["store"] = store or "moto"
    shown = result["stall"], result["upload"]
    print(
        f"{result['state_mib']:.0f} MiB of state; a checkpoint holds training for "
        f"{shown[0]['median_s'] * 1000:.0f} ms (worst {shown[0]['worst_s'] * 1000:.0f} ms), "
        f"{shown[0]['share_of_interval']:.3%} of {shown[0]['interval_s']:.0f} s"
    )
    print(
        f"upload {shown[1]['ours_mib_s']:.0f} MiB/s, boto3.upload_file "
        f"{shown[1]['boto3_mib_s']:.0f} MiB/s: ratio {shown[1]['ratio']:.3f} "
        f"(load {result['load_average']}); CPU time "
        f"{shown[1]['ours_cpu_s']:.2f} s and {shown[1]['boto3_cpu_s']:.2f} s"
    )
    print(f"written to {results.save(result, Path(out), 'store')}")


def _measure(store: S3Store, preset: str, blocks: int) -> dict[str, Any]:
    config = load_preset(preset)
    model = Denoiser(config.model, config.objective.timesteps, TARGETS)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    initialise(model, 0)
    model.to(device)
    state = TrainingState(model, config.optimizer, config.training.log_every, device, torch.float32)
    record = Record(0, "0" * 64, "0" * 64, 1, str(torch.__version__), str(device))
    content = checkpoint.take(state, record).encode()
    store.put_if_absent(head_key(RUN), Head(run=RUN).to_bytes())
    attempt = Attempt.claim(store, RUN, raise_attempt(store, RUN))
    committer = Committer(attempt, lambda line: None)
    stalls, commits = [], []
    ours: list[Took] = []
    theirs: list[Took] = []
    try:
        with tempfile.NamedTemporaryFile(prefix="mimir-bench-") as file:
            file.write(content)
            file.flush()
            for block in range(blocks):
                step = Record(**{**record.__dict__, "step": block + 1})
                began = time.perf_counter()
                committer.put(checkpoint.take(state, step))
                stalls.append(time.perf_counter() - began)
                committer.drain(600)
                commits.append(time.perf_counter() - began)
                # Who goes first changes from block to block: the first one finds colder caches.
                sides: list[Callable[[], None]] = [lambda: ours.append(_ours(store, content)),
                         lambda: theirs.append(_theirs(store, Path(file.name)))]  # fmt: skip
                for side in sides if block % 2 else reversed(sides):
                    side()
    finally:
        committer.close()
        for key in list(store.list(f"{RUN}/")):
            store.delete(key)
    mib = len(content) / 2**20
    interval = config.runtime.checkpoint_minutes * 60
    return {
        "preset": preset,
        "state_mib": round(mib, 2),
        "load_average": results.load_average(),
        "machine": results.machine(device, torch.get_num_threads()),
        "stall": {
            "median_s": statistics.median(stalls),
            "worst_s": max(stalls),
            "interval_s": interval,
            "share_of_interval": max(stalls) / interval,
            "commit_s": statistics.median(commits),
        },
        "upload": {
            "ours_s": [wall for wall, _ in ours],
            "boto3_s": [wall for wall, _ in theirs],
            "ours_mib_s": mib / statistics.median(wall for wall, _ in ours),
            "boto3_mib_s": mib / statistics.median(wall for wall, _ in theirs),
            "ratio": statistics.median(b[0] / a[0] for a, b in zip(ours, theirs, strict=True)),
            "ours_cpu_s": statistics.median(cpu for _, cpu in ours),
            "boto3_cpu_s": statistics.median(cpu for _, cpu in theirs),
        },
    }


def _ours(store: S3Store, content: bytes) -> Took:
    """`put`, which also takes the digest and verifies the size; then it is deleted."""
    began = time.perf_counter(), time.process_time()
    stored = store.put_content(f"{RUN}/upload", content)
    took = time.perf_counter() - began[0], time.process_time() - began[1]
    store.delete(stored.key)
    return took


def _theirs(store: S3Store, path: Path) -> Took:
    client, bucket = store._client, store.bucket  # the same settings of the connection too
    key = "/".join(filter(None, (bucket.prefix, RUN, "upload")))
    began = time.perf_counter(), time.process_time()
    client.upload_file(str(path), bucket.name, key, Config=TRANSFER)
    took = time.perf_counter() - began[0], time.process_time() - began[1]
    client.delete_object(Bucket=bucket.name, Key=key)
    return took


@contextmanager
def server(store: str) -> Iterator[str]:
    """URL of the store given, or of one in a moto server that ends with the block."""
    if store:
        yield store
        return
    os.environ.update(AWS_ACCESS_KEY_ID="bench", AWS_SECRET_ACCESS_KEY="bench")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        client.create_bucket(Bucket=RUN)
        yield f"s3://{RUN}/runs?endpoint={endpoint}&region=us-east-1"
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    cli.run("python -m bench.store", measure)
