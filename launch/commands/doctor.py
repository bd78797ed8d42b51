"""doctor: whether all is there that a run will need."""

import json as json_text

from mimir import console
from mimir.errors import BAD_CONFIG
from mimir.text import one_line

STYLES = {"ok": console.GOOD, "warn": console.WARN, "fail": console.BAD}
"""Of what a check found."""


def doctor(*, leftovers: bool = False, store: str = "", json: bool = False) -> int:
    """Check keys, rights, balance, quota, store, clock and SSH; nothing is rented.

    Exits with 0 if nothing failed.

    Args:
        leftovers: list what Mimir left in the accounts that have a key here, beside machines
            that run (SSH keys, registry logins, security groups, disks, machines that are off),
            and nothing else.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON: `checks` (each with `name`, `status` and `details`) and `healthy`.

    Example:
        python -m launch doctor
    """
    from dataclasses import asdict

    from launch import doctor as checking
    from launch.doctor import examine, healthy
    from mimir.submission import default_store

    checks = checking.leftovers() if leftovers else examine(store or default_store())
    if json:
        body = {"checks": [asdict(check) for check in checks], "healthy": healthy(checks)}
        print(json_text.dumps(body, indent=2))
    else:
        width = max((len(check.name) for check in checks), default=0)
        if not checks:
            print("no provider that rents has a key here")
        for check in checks:
            word = console.styled(f"{check.status:<5}", STYLES[check.status])
            told = f"{check.name:<{width}}  {one_line(check.details)}".rstrip()
            console.show(console.joined([word, told], " "))
    return 0 if healthy(checks) else BAD_CONFIG
