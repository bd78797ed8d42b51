"""What Slurm says of a job, in the words that all providers share.

The words are those of `squeue` (job_state_string in Slurm's sources), the reasons those of
job_reason_string. A word that is not known here is broken, never gone.
"""

from dataclasses import dataclass

from launch.contract.cloud import Instance, State

_PENDING = (
    "PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD",
    "SPECIAL_EXIT", "SUSPENDED", "STOPPED",
)  # fmt: skip
_RUNNING = ("RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT", "RESIZING")
_GONE = (
    "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL",
    "OUT_OF_MEMORY", "DEADLINE", "REVOKED",
)  # fmt: skip
STATES = {
    **dict.fromkeys(_PENDING, State.PENDING),
    **dict.fromkeys(_RUNNING, State.RUNNING),
    **dict.fromkeys(_GONE, State.GONE),
}

_HELD = "it waits until somebody releases it: `scontrol release {id}`"
_ADMIN = "an administrator holds it: ask them why"
STUCK = {
    "jobheldadmin": _ADMIN,
    "jobhelduser": _HELD,
    "launchfailedrequeuedheld": f"its start failed on a node, and {_HELD}",
    "jobholdmaxrequeue": f"Slurm has started it too often, and {_HELD}",
    "partitiontimelimit": "its --time is longer than its partition allows",
    "partitionnodelimit": "it asks for more nodes than its partition allows",
    "partitiondown": "its partition is down",
    "partitioninactive": "its partition takes no jobs",
    "invalidaccount": "its --account is not valid",
    "invalidqos": "its --qos is not valid",
    "accountnotallowed": "its --account may not use its partition",
    "accountingpolicy": "its account's limits do not allow it",
    "qosnotallowed": "its --qos may not use its partition",
    "badconstraints": "no node has what its --constraint and --gres ask for",
    "dependencyneversatisfied": "what its --dependency waits for will never happen",
    "assocmaxwalldurationperjoblimit": "its --time is longer than its account allows",
    "qosmaxwalldurationperjoblimit": "its --time is longer than its --qos allows",
}
"""Reasons for which a job may wait for ever, by their letters: what is wrong."""


@dataclass(frozen=True)
class Job:
    """A line of `squeue`. word: its state; begin: when it is expected to start, "" if untold.

    comment: what the job itself has left there.
    """

    id: str
    word: str
    reason: str
    begin: str
    node: str
    name: str
    comment: str

    @property
    def state(self) -> State:
        """Of a word that is not known: broken."""
        return STATES.get(self.word.split()[0] if self.word.strip() else "", State.BROKEN)

    @property
    def stuck(self) -> str:
        """Why it will not start by itself, "" if it may."""
        letters = "".join(c for c in self.reason.lower() if c.isalnum())
        found = STUCK.get(letters, "") if self.state is State.PENDING else ""
        return found.format(id=self.id)

    @property
    def said(self) -> str:
        """Its state for people."""
        word = self.word.strip().lower()
        if self.state is not State.PENDING:
            said = f"{word}, {self.comment}" if self.comment else word
            return f"job {self.id} {said}"
        begin = f", expected start {self.begin}" if self.begin else ""
        stuck = f": {self.stuck}" if self.stuck else ""
        return f"job {self.id} {word} ({self.reason}{begin}){stuck}"

    def instance(self) -> Instance:
        return Instance(
            self.id, self.name, self.state, self.said, place=self.node, stuck=self.stuck
        )


FORMAT = "%A|%T|%r|%S|%N|%j|%k"
"""Of squeue: what `parse` reads. The comment is last, because it may hold anything."""


def parse(line: str) -> Job | None:
    """A line of squeue in this format; None if it is none."""
    fields = [field.strip() for field in line.split("|", 6)]
    if len(fields) != 7 or not fields[0].isdigit() or not fields[5]:
        return None
    empty = ("(null)", "N/A", "None")
    begin, comment = ("" if fields[i] in empty else fields[i] for i in (3, 6))
    return Job(fields[0], fields[1], fields[2], begin, fields[4], fields[5], comment)
