"""The command lines that use a run's model, and the one that makes it again."""

import shlex
from collections.abc import Mapping
from typing import Any

from launch.report.facts import Facts
from mimir.config import SECTIONS, Config, load_preset, preset_names
from mimir.data import terms
from mimir.data.opened import open_data
from mimir.errors import MimirError
from mimir.output.quality import best_covered
from mimir.output.start import MAY_DIFFER
from mimir.runs import layout
from mimir.runs.origin import STATE

AGAIN = "-again"
"""What is put behind the run's name."""
_FILE = (
    " (FILE: the packed data set with the digest below; the run's store has it as an object whose "
    "name begins with that digest)"
)


def commands(facts: Facts) -> list[tuple[str, str]]:
    """(what, command line); nothing before there are weights."""
    name = shlex.quote(facts.record.name)
    if not facts.head.kept:
        return []
    found = [
        ("fetch model, log and report", f"python -m launch pull {name}"),
        ("draw peptides", f"python -m mimir sample --run {name} -n 10{_target(facts)}"),
        ("score peptides of yours",
         f"python -m mimir score --run {name} --peptides FILE{_target(facts)}"),
        ("measure it on held-out peptides", f"python -m mimir evaluate --run {name}"),
        ("see whether its last steps give the same bits", f"python -m mimir replay {name}"),
    ]  # fmt: skip
    with_file = _needs_file(facts)
    return [*found, ("make it again" + (_FILE if with_file else ""), _submit(facts, with_file))]


def _target(facts: Facts) -> str:
    """The target with most training pairs, if any has some."""
    best = best_covered(facts.peptides) if facts.peptides is not None else []
    if not best or facts.peptides is None:
        return ""
    return f" --target {shlex.quote(facts.peptides.vocabulary[best[0]])}"


def _needs_file(facts: Facts) -> bool:
    """Whether `submit` would take other data than the run's if it were given none.

    It takes those of the run named by --continue-from or --init-from, else the sample that is
    shipped here. That one may be packed in another way, as by an older Mimir, and then holds out
    other peptides.
    """
    record, peptides = facts.record, facts.peptides
    if record.data is None or (record.origin is not None and record.origin.kind == STATE):
        return False
    if record.origin is not None or peptides is None:
        return True
    if terms.of_csv(peptides.source) != terms.SAMPLE:
        return True
    try:
        return open_data().peptides.digest != record.data.sha256
    except (MimirError, OSError):  # packing it needs room
        return True


def _submit(facts: Facts, with_file: bool) -> str:
    """`submit` with the settings in which the run differs from its preset."""
    record = facts.record
    own, origin = Config.from_dict(record.config), record.origin
    words = ["python", "-m", "launch", "submit"]
    if origin is not None and origin.kind == STATE:
        changeable = {**vars(own.training), **vars(own.optimizer)}
        words += ["--continue-from", f"{origin.run}@{origin.step}"]
        words += _options({name: changeable[name] for name in MAY_DIFFER})
    else:
        words += ["--init-from", f"{origin.run}@{origin.step}"] if origin is not None else []
        base = load_preset(own.preset if own.preset in preset_names() else "small")
        words += ["--preset", base.preset]
        for section in SECTIONS:
            usual = vars(getattr(base, section))
            mine = vars(getattr(own, section)).items()
            words += _options({name: value for name, value in mine if value != usual[name]})
        words += ["--data", "FILE"] if with_file else []
    return shlex.join([*words, "--name", record.name[: layout.LONGEST_RUN - len(AGAIN)] + AGAIN])


def _options(values: Mapping[str, Any]) -> list[str]:
    return [
        w for name, value in values.items() for w in (f"--{name.replace('_', '-')}", f"{value}")
    ]
