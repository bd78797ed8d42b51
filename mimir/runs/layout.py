"""Names every object of a store. Every key that another module uses is made here.

    <run>/run.json                               the frozen job, created once
    <run>/HEAD                                   compare-and-swap only
    <run>/code/<sha256>-<file>                   by content; the file name stays, because pip
    <run>/data/<sha256>-<file>                   refuses a wheel under another name
    <run>/start/<sha256>-<file>                  what a run begins with that goes on from another
    _sweeps/<sweep>.json                         created once: the runs of a sweep
    _sweeps/<sweep>/code/<sha256>-<file>         what its runs have instead of copies of their own
    _sweeps/<sweep>/data/<sha256>-<file>
    _sweeps/<sweep>/state.json                   swapped: whether its runs are to be begun

The launcher's, written with the user's own rights, which no machine has:

    <run>/launcher/a0001/order.json              created once: the right to order one machine
    <run>/launcher/a0001/machine.json            created once
    <run>/launcher/a0001/started.json            created once: a queued job has begun it
    <run>/launcher/a0001/gone.json               created once: the machine was seen to be no more
    <run>/launcher/a0001/stop.json               created once: a request to stop this attempt
    <run>/launcher/a0001/removing.json           created once: the run is being removed, though it
                                                 was done, which final.json says for good
    <run>/launcher/a0001/log-joined              created once: a copy of the attempt's parts,
    <run>/launcher/a0001/metrics-joined          when no more of them will come
    <run>/launcher/final.json                    created once: what the run left when it was done
    <run>/launcher/about.json                    swapped: labels and notes that people gave it
    <run>/launcher/ended.json                    overwritten: a copy of what is known of attempts
                                                 that are over, so that they are read once
    <run>/launcher/replay.json                   overwritten: what the last `mimir replay` found
    _launcher/failed_hosts.json                  swapped: hosts that failed, of all runs
    _launcher/newest_runs.json                   swapped: the runs that were created last
    _launcher/owner.json                         created once: the store's id
    _launcher/removed/<run>.json                 swapped: a run of this name was removed, or is
                                                 being removed (mimir.runs.tombstone)
    _keys/<run>/a0001-<nonce>.json               a machine's keys on their way; no run's name

The attempt's, written by a machine that nobody trusts:

    <run>/a0001/s00012000-<nonce>.safetensors    a checkpoint
    <run>/a0001/log/000001.txt                   parts
    <run>/a0001/metrics/000001.jsonl
    <run>/a0001/heartbeat.json                   overwritten, informational
    <run>/a0001/alerts.json                      overwritten: what the worker warned of
    <run>/a0001/upload-check                     while it measures its rate to the store
    <run>/a0001/unended.json                     created once: the machine cannot end itself
    <run>/a0001/outcome.json                     created once: how the attempt ended
    <run>/a0001/model-<nonce>-<file>             weights for the user, named by HEAD

A key bears the attempt and a nonce wherever two writers could meet: an attempt that was
given up may still be writing, and a key that is never used twice cannot be overwritten.
stop.json belongs to an attempt, so that an old request cannot stop the attempt that a
later `resume` starts. All that an attempt writes, HEAD apart, lies below one prefix, because
keys are cut down to prefixes (launch/payload/session_policy.py).
"""

import re

from mimir.errors import BadInput

HANDOVER = "_keys"
SHARED = "_launcher"
SWEEPS = "_sweeps"
"""Folders of a store that are no runs."""
OWNER = f"{SHARED}/owner.json"
TOMBSTONES = f"{SHARED}/removed"
"""Folder of what stays of removed runs."""
LONGEST_RUN = 41
"""Characters of a run's name."""
_RUN = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{LONGEST_RUN - 1}}}")
_SWEEP = re.compile(r"[a-z0-9][a-z0-9_-]{0,35}")
"""Shorter than a run's name, which has the number of the run behind it."""
_ORDER = re.compile(r"a(\d{4,9})/order\.json", re.ASCII)
_ATTEMPTS = re.compile(r"(?:launcher/)?a(\d{4,9})/.+", re.ASCII)
_HANDOVER = re.compile(r"a(\d{4,9})-.+", re.ASCII)
_CHECKPOINT = re.compile(r"a(\d{4,9})/s(\d{8,13})-[0-9a-f]{1,32}\.safetensors", re.ASCII)
_MODEL = re.compile(r"a\d{4,9}/model-[0-9a-f]+-[A-Za-z0-9_+-][A-Za-z0-9._+-]*", re.ASCII)


def is_run(name: str) -> bool:
    """Whether a folder of a store may be a run: a store has others, its own and foreign ones."""
    return _RUN.fullmatch(name) is not None


def check_run(run: str) -> str:
    """The name itself, or BadInput if it is not a legal run name."""
    if not _RUN.fullmatch(run):
        raise BadInput(
            f"run name {run!r} is not allowed: use 1 to {LONGEST_RUN} of a-z, 0-9, '-' and '_', "
            "beginning with a letter or digit"
        )
    return run


def check_sweep(sweep: str) -> str:
    """The name itself, or BadInput if it is not a legal name of a sweep."""
    if not _SWEEP.fullmatch(sweep):
        raise BadInput(
            f"sweep name {sweep!r} is not allowed: use 1 to 36 of a-z, 0-9, '-' and '_', "
            "beginning with a letter or digit"
        )
    return sweep


def sweep_key(sweep: str) -> str:
    return f"{sweep_folder(sweep)}.json"


def parse_sweep(key: str) -> str | None:
    """The sweep of such a key, or None for any other key."""
    name = key.removeprefix(f"{SWEEPS}/").removesuffix(".json")
    legal = _SWEEP.fullmatch(name) is not None
    return name if legal and key == sweep_key(name) else None


def sweep_folder(sweep: str) -> str:
    """`_sweeps/<sweep>`, without a trailing slash: what its runs share."""
    return f"{SWEEPS}/{check_sweep(sweep)}"


def sweep_state_key(sweep: str) -> str:
    return f"{sweep_folder(sweep)}/state.json"


def sweep_data_key(sweep: str, sha256: str, file: str) -> str:
    return f"{sweep_folder(sweep)}/data/{sha256}-{_file(file)}"


def sweep_code_key(sweep: str, sha256: str, file: str) -> str:
    return f"{sweep_folder(sweep)}/code/{sha256}-{_file(file)}"


def sweep_run(sweep: str, number: int) -> str:
    """The name of a sweep's run, counted from 0."""
    return check_run(f"{check_sweep(sweep)}-{number:03d}")


def record_key(run: str) -> str:
    return f"{check_run(run)}/run.json"


def head_key(run: str) -> str:
    return f"{check_run(run)}/HEAD"


def attempt_prefix(run: str, attempt: int) -> str:
    """`<run>/a0001`, without a trailing slash."""
    if attempt < 1:
        raise ValueError(f"attempts are numbered from 1, not {attempt}")
    return f"{check_run(run)}/a{attempt:04d}"


def launcher_prefix(run: str, attempt: int) -> str:
    """`<run>/launcher/a0001`, without a trailing slash: what the launcher writes of an attempt."""
    return f"{launcher_folder(run)}/{attempt_prefix(run, attempt).rpartition('/')[2]}"


def launcher_folder(run: str) -> str:
    """`<run>/launcher`, without a trailing slash: what no machine may write."""
    return f"{check_run(run)}/launcher"


def checkpoint_key(run: str, attempt: int, step: int, nonce: str) -> str:
    """A key for the state after `step` steps; `nonce` is hex, 12 digits of it are used."""
    return f"{attempt_prefix(run, attempt)}/s{step:08d}-{nonce[:12]}.safetensors"


def parse_checkpoint(run: str, key: str) -> tuple[int, int] | None:
    """(attempt, step) of a checkpoint key of `run`, or None for any other key."""
    match = _CHECKPOINT.fullmatch(key.removeprefix(f"{run}/"))
    if not match:
        return None
    found = int(match[1]), int(match[2])
    # Of two ways to write a number one is ours: a key that we would not make is foreign.
    return found if key.startswith(f"{run}/a{found[0]:04d}/s{found[1]:08d}-") else None


def parse_attempt(run: str, key: str) -> int | None:
    """The attempt that the key is of, whoever wrote it; None for what the whole run shares."""
    match = _ATTEMPTS.fullmatch(key.removeprefix(f"{run}/")) if key.startswith(f"{run}/") else None
    return int(match[1]) if match else None


def heartbeat_key(run: str, attempt: int) -> str:
    return f"{attempt_prefix(run, attempt)}/heartbeat.json"


def alerts_key(run: str, attempt: int) -> str:
    return f"{attempt_prefix(run, attempt)}/alerts.json"


def machine_key(run: str, attempt: int) -> str:
    return f"{launcher_prefix(run, attempt)}/machine.json"


def order_key(run: str, attempt: int) -> str:
    return f"{launcher_prefix(run, attempt)}/order.json"


def parse_order(run: str, key: str) -> int | None:
    """The attempt of an order's key of `run`, or None for any other key."""
    match = _ORDER.fullmatch(key.removeprefix(f"{launcher_folder(run)}/"))
    return int(match[1]) if match else None


def gone_key(run: str, attempt: int) -> str:
    return f"{launcher_prefix(run, attempt)}/gone.json"


def started_key(run: str, attempt: int) -> str:
    return f"{launcher_prefix(run, attempt)}/started.json"


def unended_key(run: str, attempt: int) -> str:
    return f"{attempt_prefix(run, attempt)}/unended.json"


def outcome_key(run: str, attempt: int) -> str:
    return f"{attempt_prefix(run, attempt)}/outcome.json"


def upload_key(run: str, attempt: int) -> str:
    """What a machine sends, and deletes, to measure its rate to the store."""
    return f"{attempt_prefix(run, attempt)}/upload-check"


def failed_hosts_key() -> str:
    return f"{SHARED}/failed_hosts.json"


def newest_runs_key() -> str:
    return f"{SHARED}/newest_runs.json"


def tombstone_key(run: str) -> str:
    return f"{TOMBSTONES}/{check_run(run)}.json"


def parse_tombstone(key: str) -> str | None:
    """The run of such a key, or None for any other key."""
    name = key.removeprefix(f"{TOMBSTONES}/").removesuffix(".json")
    return name if is_run(name) and key == tombstone_key(name) else None


def stop_key(run: str, attempt: int) -> str:
    return f"{launcher_prefix(run, attempt)}/stop.json"


def data_folder(run: str) -> str:
    """`<run>/data`, without a trailing slash."""
    return f"{check_run(run)}/data"


def code_folder(run: str) -> str:
    """`<run>/code`, without a trailing slash."""
    return f"{check_run(run)}/code"


def data_key(run: str, sha256: str, file: str) -> str:
    return f"{data_folder(run)}/{sha256}-{_file(file)}"


def code_key(run: str, sha256: str, file: str) -> str:
    return f"{code_folder(run)}/{sha256}-{_file(file)}"


def start_folder(run: str) -> str:
    """`<run>/start`, without a trailing slash."""
    return f"{check_run(run)}/start"


def start_key(run: str, sha256: str, file: str) -> str:
    return f"{start_folder(run)}/{sha256}-{_file(file)}"


def model_key(run: str, attempt: int, nonce: str, file: str) -> str:
    return f"{attempt_prefix(run, attempt)}/model-{nonce[:12]}-{_file(file)}"


def is_model(run: str, key: str) -> bool:
    """Whether `model_key` makes such a key for the run."""
    return key.startswith(f"{run}/") and bool(_MODEL.fullmatch(key.removeprefix(f"{run}/")))


def handover_folder(run: str) -> str:
    """What the keys of all objects begin with that hand keys over to a run's machines."""
    return f"{HANDOVER}/{check_run(run)}/"


def handover_prefix(run: str, attempt: int) -> str:
    """What the keys of all objects begin with that hand keys over to an attempt's machine.

    Not below <run>/, which every attempt may read; and no attempt's prefix begins another's.
    """
    attempt_prefix(run, attempt)
    return f"{handover_folder(run)}a{attempt:04d}-"


def handover_key(run: str, attempt: int, nonce: str) -> str:
    return f"{handover_prefix(run, attempt)}{nonce}.json"


def parse_handover(run: str, key: str) -> int | None:
    """The attempt of a `handover_key` of `run`, or None for any other key."""
    folder = handover_folder(run)
    match = _HANDOVER.fullmatch(key.removeprefix(folder)) if key.startswith(folder) else None
    return int(match[1]) if match else None


def final_key(run: str) -> str:
    return f"{launcher_folder(run)}/final.json"


def removing_key(run: str, attempt: int) -> str:
    return f"{launcher_prefix(run, attempt)}/removing.json"


def joined_key(run: str, attempt: int, kind: str) -> str:
    return f"{launcher_prefix(run, attempt)}/{kind}-joined"


def replay_key(run: str) -> str:
    return f"{launcher_folder(run)}/replay.json"


def about_key(run: str) -> str:
    return f"{launcher_folder(run)}/about.json"


def ended_key(run: str) -> str:
    return f"{launcher_folder(run)}/ended.json"


def probe_key(run: str, nonce: str) -> str:
    return f"{check_run(run)}/probe/{nonce}"


def _file(name: str) -> str:
    # Object stores allow nearly anything in a key; file systems and URLs do not.
    return re.sub(r"[^A-Za-z0-9._+-]", "_", name)
