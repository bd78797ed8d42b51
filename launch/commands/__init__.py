"""The commands of `python -m launch`: a file each, imported when it is called.

`options` holds what several commands take, `begin` what submit and resume do, `following` how a
log is followed, `training` what offers and estimate ask about.
"""

from mimir import cli

NAMES = (
    "submit", "status", "logs", "stop", "resume", "pull", "runs", "offers", "estimate", "watch",
    "reap", "doctor",
)  # fmt: skip
TREE: cli.Tree = {name: f"launch.commands.{name}:{name}" for name in NAMES}
SUMMARY = "Submit trainings to machines, follow them, and fetch what they leave."
