"""Whether two revisions train to the same bits: same weights, same moments, same metrics.

    python -m bench.compare_revisions                    61ca884 and this checkout
    python -m bench.compare_revisions v0.1 ../mimir      a git revision and a folder
    python -m bench.compare_revisions --stores file --steps 80 HEAD~1

Each revision trains the smoke preset on the CPU by its own `python -m launch`, in processes of its
own: to the end, and killed in the middle and resumed; on a file store, and on an S3 store (moto, on
127.0.0.1). Then the SHA-256 of what was stored is compared. The two trees may have different
modules: only the command line and the stored objects must be alike.

Exit code 0: all is the same; 1: something differs; 2: it could not be tried.
"""

import argparse
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.checkouts import ROOT, Tree, environment, tree_of
from bench.digests import Digests, differences, digest, of_checkpoint, of_metrics, tensors
from mimir.errors import BadInput

BASE = "61ca884"
STORES, RUNS = ("file", "s3"), ("whole", "torn")
KEYS = {"AWS_ACCESS_KEY_ID": "compare", "AWS_SECRET_ACCESS_KEY": "compare-compare"}
LIMIT = 600.0
"""Seconds after which a command or a run counts as hanging."""


class Impossible(Exception):
    """It could not be tried; the message is for people."""


def table(trees: Sequence[Tree], found: Sequence[Digests]) -> str:
    """One line for each thing that was compared."""
    lines = [("store", "run", "what", *(tree.title for tree in trees), "")]
    for key in sorted({*found[0], *found[1]}):
        both = [digests.get(key, "missing")[:12] for digests in found]
        same = found[0].get(key) == found[1].get(key)
        lines.append((*key, *both, "same" if same else "DIFFERENT"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


@dataclass(frozen=True)
class Place:
    """A store, as a revision's command line names it and as it is read here.

    root: its folder, or its bucket. s3: a client of its server.
    """

    url: str
    root: Path
    s3: Any = None

    def read(self, key: str) -> bytes | None:
        """An object's content, None if there is none."""
        if self.s3 is None:
            path = self.root / key
            return path.read_bytes() if path.exists() else None
        try:
            answer = self.s3.get_object(Bucket=str(self.root), Key=f"runs/{key}")
        except self.s3.exceptions.NoSuchKey:
            return None
        body: bytes = answer["Body"].read()
        return body


@dataclass(frozen=True)
class Trial:
    """One tree with one store, in a folder of its own."""

    tree: Tree
    place: Place
    folder: Path
    steps: int

    def environment(self) -> dict[str, str]:
        """The tree's own modules, and nothing of the user's."""
        home = str(self.folder)
        return {
            **environment(self.tree), **KEYS, "HOME": home,
            "XDG_STATE_HOME": home, "XDG_CACHE_HOME": home, "XDG_DATA_HOME": home,
            "AWS_EC2_METADATA_DISABLED": "true", "OMP_NUM_THREADS": "1",
        }  # fmt: skip

    def launch(self, *words: str) -> str:
        """What a command of the tree's own launcher prints.

        Raises:
            Impossible: it failed.
        """
        command = [sys.executable, "-m", "launch", *words, "--store", self.place.url]
        try:
            done = subprocess.run(
                command, cwd=self.tree.folder, env=self.environment(), text=True, check=False,
                timeout=LIMIT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Impossible(
                f"`launch {words[0]}` of {self.tree.title} takes longer than {LIMIT:.0f} s"
            ) from None
        if done.returncode:
            raise Impossible(
                f"`launch {words[0]}` of {self.tree.title} ended with exit code "
                f"{done.returncode}:\n{done.stdout}"
            )
        return done.stdout

    def is_its_own(self) -> None:
        """Raises Impossible if Python takes another tree's modules for this one's."""
        code = "import launch, mimir; print(launch.__file__, mimir.__file__, sep='\\n')"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=self.tree.folder, env=self.environment(),
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        for line in done.stdout.splitlines():
            if self.tree.folder not in Path(line).resolve().parents:
                raise Impossible(f"{self.tree.title} would be run with {line}, of another tree")

    def submit(self, name: str, *words: str) -> None:
        """Begin the run; its settings and its data are the same each time."""
        settings = {
            "device": "cpu", "threads": 1, "seed": 7, "max_steps": self.steps, "log_every": 5,
            "eval_every": 20, "eval_rows": 64, "checkpoint_steps": 10,
        }  # fmt: skip
        options = [w for k, v in settings.items() for w in (f"--{k.replace('_', '-')}", str(v))]
        self.launch(
            "submit", "--preset", "smoke", "--name", name, "--provider", "local", *options, *words
        )

    def head(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.place.read(f"{name}/HEAD") or b"{}")
        return found

    def whole(self) -> str:
        """A run that nobody disturbs; its name."""
        self.submit("whole", "--watch")
        return "whole"

    def torn(self) -> str:
        """A run whose worker and trainer are killed in the middle, and resumed; its name.

        A fast computer may train to the end before it is killed, so it is tried again with another
        run: a run that was never interrupted would show nothing.
        """
        for number in range(5):
            name = f"torn{number}"
            self.submit(name)
            machine = json.loads(self.place.read(f"{name}/launcher/a0001/machine.json") or b"{}")
            end = time.monotonic() + LIMIT
            while self.head(name).get("step", 0) < 10:
                if time.monotonic() > end:
                    raise Impossible(f"the run of {self.tree.title} makes no step")
                time.sleep(0.005)
            try:
                os.killpg(machine["pid"], signal.SIGKILL)
            except ProcessLookupError:
                continue
            head = self.head(name)
            if head["state"] == "done":
                continue
            print(f"  killed after the commit of step {head['step']} of {self.steps}", flush=True)
            self.launch("resume", name, "--watch")
            return name
        raise Impossible("each run was over before it could be killed: give more --steps")

    def digests(self, name: str) -> dict[str, str]:
        """Of what a finished run has left."""
        head = self.head(name)
        if head.get("state") != "done":
            raise Impossible(f"run {name} of {self.tree.title} is {head.get('state')}, not done")
        model = self.place.read(head["model"]["key"])
        checkpoint = self.place.read(head["kept"][-1]["key"])
        if model is None or checkpoint is None:
            raise Impossible(f"run {name} of {self.tree.title} names objects that are not there")
        weights = digest(tensors(_weights(model)))
        out = self.folder / f"pulled-{name}"
        self.launch("pull", name, "--out", str(out))
        metrics = of_metrics((out / "metrics.jsonl").read_text())
        return {"model": weights, "metrics": metrics, **of_checkpoint(checkpoint)}


def _weights(model: bytes) -> bytes:
    """A safetensors file, from what a run leaves: that itself, or, until 0.1.0, a tar with it."""
    try:
        with tarfile.open(fileobj=io.BytesIO(model)) as tar:
            member = tar.extractfile("model.safetensors")
            return member.read() if member else model
    except (tarfile.TarError, KeyError):
        return model


def tried(tree: Tree, stores: Iterable[str], steps: int, scratch: Path, s3: str) -> Digests:
    """Train each kind of run on each kind of store; what was left."""
    found: Digests = {}
    for store in stores:
        folder = Path(tempfile.mkdtemp(dir=scratch, prefix="trial-"))
        place = Place((folder / "runs").as_uri(), folder / "runs")
        if store == "s3":
            place = _bucket(s3, f"runs-{uuid.uuid4().hex[:12]}")
        trial = Trial(tree, place, folder, steps)
        trial.is_its_own()
        for run in RUNS:
            print(f"{tree.title}: {run} run on the {store} store", flush=True)
            name = trial.whole() if run == "whole" else trial.torn()
            found |= {(store, run, what): sha for what, sha in trial.digests(name).items()}
    return found


def _bucket(endpoint: str, bucket: str) -> Place:
    """A new bucket at this server."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1",
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip
    client.create_bucket(Bucket=bucket)
    return Place(f"s3://{bucket}/runs?endpoint={endpoint}&region=us-east-1", Path(bucket), client)


@contextmanager
def moto(scratch: Path) -> Iterator[str]:
    """An S3 server on 127.0.0.1 while it lasts; its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (scratch / "moto.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        end = time.monotonic() + LIMIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > end:
                    raise Impossible(
                        "the S3 server does not start: `pip install 'moto[server]'`, or give "
                        f"--stores file\n{(scratch / 'moto.log').read_text()}"
                    ) from None
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code; see the top of this file."""
    about = __doc__ or ""
    parser = argparse.ArgumentParser(
        prog="compare_revisions.py", description=about.split("\n\n    ")[0],
        epilog="Examples:\n    " + about.split("\n\n    ", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("one", nargs="?", default=BASE, help=f"folder or revision ({BASE})")
    parser.add_argument("other", nargs="?", default=str(ROOT), help="the same (this checkout)")
    parser.add_argument("--steps", type=int, default=60, help="steps of each run (60)")
    parser.add_argument("--stores", default="file,s3", help="file, s3 or both (file,s3)")
    words = parser.parse_args(argv)
    scratch = Path(tempfile.mkdtemp(prefix="compare-"))
    try:
        stores = words.stores.split(",")
        for store in stores:
            if store not in STORES:
                raise Impossible(f"--stores is {words.stores!r}, but must be file, s3 or file,s3")
        if words.steps < 30:
            raise Impossible(f"--steps is {words.steps}, but must be at least 30: a run is killed")
        trees = [tree_of(word, scratch) for word in (words.one, words.other)]
        with ExitStack() as stack:
            s3 = stack.enter_context(moto(scratch)) if "s3" in stores else ""
            found = [tried(tree, stores, words.steps, scratch, s3) for tree in trees]
    except (Impossible, BadInput) as error:
        print(f"compare_revisions.py: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"\n{table(trees, found)}\n")
    different = differences(*found)
    for sentence in different:
        print(f"different: {sentence}")
    if not different:
        print("Both revisions train to the same bits.")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
