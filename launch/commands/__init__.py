"""The commands of `python -m launch`: a file each, named like it, imported when it is called.

Shared by several: `rent_options` (what submit, resume and sweep take alike), `options` (the checks
of what was given), `begin` (the attempt that submit and resume begin), `following` (a log on the
screen), `training` (what offers and estimate ask about), `lineage` (what submit makes of another
run).
`sweep_steps` is what `sweep` does, and `report_steps` what `report` does.
"""

from mimir import cli

NAMES = (
    "submit", "status", "logs", "alerts", "stop", "resume", "pull", "report", "runs", "compare",
    "label", "note", "offers", "estimate", "watch", "sweep", "rm", "prune", "reap", "doctor",
    "bundle", "completion",
)  # fmt: skip
TREE: cli.Tree = {
    **{name: f"launch.commands.{name}:{name}" for name in NAMES},
    "cluster": {name: f"launch.commands.cluster:{name}" for name in ("setup", "probe")},
}
SUMMARY = "Submit trainings to machines, follow them, and fetch what they leave."
