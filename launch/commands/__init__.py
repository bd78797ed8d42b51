"""The commands of `python -m launch`. What they need is imported when they are called."""

from launch.commands.doctor import doctor
from launch.commands.keep import reap, watch
from launch.commands.look import logs, runs, status
from launch.commands.market import estimate, offers
from launch.commands.pull import pull
from launch.commands.start import resume, submit
from launch.commands.stop import stop
from mimir import cli

TREE: cli.Tree = {
    "submit": submit,
    "status": status,
    "logs": logs,
    "stop": stop,
    "resume": resume,
    "pull": pull,
    "runs": runs,
    "offers": offers,
    "estimate": estimate,
    "watch": watch,
    "reap": reap,
    "doctor": doctor,
}
SUMMARY = "Submit trainings to machines, follow them, and fetch what they leave."
