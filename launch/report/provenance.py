"""What a run was made of: its settings, and the digests of code, data and weights."""

from launch.report.facts import Facts
from mimir.data import terms


def settings(facts: Facts) -> list[tuple[str, list[tuple[str, str]]]]:
    """By section of the configuration."""
    return [
        (section, [(key, str(value)) for key, value in body.items()])
        for section, body in facts.record.config.items()
        if isinstance(body, dict)
    ]


def digests(facts: Facts) -> list[tuple[str, str]]:
    """(what, SHA-256), and the licence of the data with what to cite for it."""
    record, head, peptides = facts.record, facts.head, facts.peptides
    found = [("configuration", record.config_sha256), ("seed", str(record.seed))]
    if record.code is not None:
        found.append(("code (the wheel that machines ran)", record.code.sha256))
    if (origin := record.origin) is not None and origin.start is not None:
        found.append((f"what it began with: {origin.words}", origin.start.sha256))
        found.append((f"taken from run {origin.run}, object", origin.sha256))
        found.append((f"configuration of run {origin.run}", origin.config_sha256))
    if peptides is not None:
        found += [("data (packed)", peptides.digest), ("data (CSV)", peptides.source)]
        known = terms.of_csv(peptides.source)
        cited = "; ".join(known.references) or "unknown: whoever built the data set knows"
        found += [("licence of the data", known.licence), ("to cite for the data", cited)]
    elif record.data is not None:
        found.append(("data (packed)", record.data.sha256))
    if head.model is not None:
        found.append(("model (the file model.safetensors)", head.model.sha256))
    found += [(f"checkpoint of step {kept.step:,}", kept.sha256) for kept in head.kept]
    return found
