"""What a run was made of: its settings, and the digests of code, data and weights."""

import hashlib

from launch.report.facts import Facts
from mimir.data import sample_path

SAMPLE_LICENCE = (
    "Mimir's own sample: protein sequences from UniProt (CC BY 4.0); pairs from the Protein Data "
    "Bank (CC0 1.0) as tabulated by PepMLM and PepInter (MIT)"
)
OTHER_LICENCE = "not told: this data set is not Mimir's own; whoever built it knows its terms"


def settings(facts: Facts) -> list[tuple[str, list[tuple[str, str]]]]:
    """By section of the configuration."""
    return [
        (section, [(key, str(value)) for key, value in body.items()])
        for section, body in facts.record.config.items()
        if isinstance(body, dict)
    ]


def digests(facts: Facts) -> list[tuple[str, str]]:
    """(what, SHA-256), and the licence of the data."""
    record, head, peptides = facts.record, facts.head, facts.peptides
    found = [("configuration", record.config_sha256), ("seed", str(record.seed))]
    if record.code is not None:
        found.append(("code", record.code.sha256))
    if peptides is not None:
        found += [("data (packed)", peptides.digest), ("data (CSV)", peptides.source)]
        found.append(("licence of the data", licence(peptides.source)))
    if head.model is not None:
        found.append(("model", head.model.sha256))
    found += [(f"checkpoint of step {kept.step:,}", kept.sha256) for kept in head.kept]
    return found


def licence(csv_sha256: str) -> str:
    """Under which terms the data is: known of the sample that Mimir ships, by its digest."""
    own = hashlib.sha256(sample_path().read_bytes()).hexdigest()
    return SAMPLE_LICENCE if csv_sha256 == own else OTHER_LICENCE
