"""doctor: whether all is there that a run will need."""

import json as json_text

from mimir.errors import BAD_CONFIG
from mimir.text import one_line


def doctor(*, store: str = "", json: bool = False) -> int:
    """Check keys, rights, balance, quota, store, clock and SSH; nothing is rented.

    Exits with 0 if nothing failed.

    Args:
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON: `checks` (each with `name`, `status` and `details`) and `healthy`.

    Example:
        python -m launch doctor
    """
    from dataclasses import asdict

    from launch.doctor import examine, healthy
    from mimir.submission import default_store

    checks = examine(store or default_store())
    if json:
        body = {"checks": [asdict(check) for check in checks], "healthy": healthy(checks)}
        print(json_text.dumps(body, indent=2))
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            print(f"{check.status:<5} {check.name:<{width}}  {one_line(check.details)}".rstrip())
    return 0 if healthy(checks) else BAD_CONFIG
