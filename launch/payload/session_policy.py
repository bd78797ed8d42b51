"""What the keys of one attempt's worker may do.

    read       <run>/*
               _sweeps/<sweep>/data/*, _sweeps/<sweep>/code/*   of the sweep that the run is of
    write      <run>/aNNNN/*, <run>/HEAD
    delete     <run>/aNNNN/*     never HEAD, never another attempt's checkpoints
               _keys/<run>/aNNNN-*    what handed these keys over, which they may not read
    list       below <run>/

A stranger with such keys can spoil this run at most: no other run is seen or touched, no other
attempt's checkpoint is lost, and what the launcher goes by (<run>/launcher/*) is not theirs to
write. HEAD stays writable for whoever holds the keys; that an
older attempt's worker leaves it alone is the work of compare-and-swap. docs/store.md has the
bucket policy that turns away every unconditional write of it.
"""

import json
import re

from mimir.errors import BadInput
from mimir.runs import layout

POLICY_LIMIT = 2048
"""Characters of a session policy that STS takes."""


def of_attempt(
    bucket: str, prefix: str, run: str, attempt: int, partition: str = "aws", sweep: str = ""
) -> str:
    """The session policy of an attempt's worker as compact JSON, at most 2,048 characters.

    sweep: to which the run belongs, "" for none.

    Raises:
        BadInput: the prefix is too long for it, or holds what a policy takes for a wildcard.
    """
    if re.search(r"[*?$]", prefix):
        raise BadInput(
            f"the store's prefix {prefix!r} has one of * ? $, which a policy takes for a wildcard: "
            "use a store with another prefix"
        )
    root = f"{prefix}/" if prefix else ""
    own = f"arn:{partition}:s3:::{bucket}"
    there = f"{own}/{root}{layout.check_run(run)}"
    mine = f"{own}/{root}{layout.attempt_prefix(run, attempt)}/*"
    shared = f"{own}/{root}{layout.sweep_folder(sweep)}" if sweep else ""
    readable = [f"{there}/*", *([f"{shared}/data/*", f"{shared}/code/*"] if sweep else [])]
    statements = [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": readable},
        {
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
            "Resource": [mine, f"{own}/{root}{layout.head_key(run)}"],
        },
        {
            "Effect": "Allow",
            "Action": "s3:DeleteObject",
            "Resource": [mine, f"{own}/{root}{layout.handover_prefix(run, attempt)}*"],
        },
        {
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": own,
            "Condition": {"StringLike": {"s3:prefix": f"{root}{run}/*"}},
        },
    ]
    text = json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))
    if len(text) > POLICY_LIMIT:
        raise BadInput(
            f"the policy for run {run} would have {len(text)} characters, and STS takes "
            f"{POLICY_LIMIT}: use a store with a shorter prefix"
        )
    return text
