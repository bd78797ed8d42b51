"""Ticks the training guide's list with what was seen of a run and its preflight."""

from typing import Any

from mimir import text
from mimir.notebook.cells import Session
from mimir.runs.figures import RANKING
from mimir.runs.parts import read_metrics
from mimir.runs.record import read_run
from mimir.runs.status import read_head


def checklist(session: Session, report: dict[str, Any] | None) -> str:
    """The training guide's list, ticked with what was seen of the run and its preflight."""
    store = session.opened()
    head = read_head(store, session.run)
    rows = read_metrics(store, session.run, head)
    record = read_run(store, session.run)
    seen = {c["name"]: c for c in report["checks"]} if report else {}
    trained = [row for row in rows if row.get("loss") is not None]
    held = [row for row in rows if row.get(RANKING) is not None]
    drawn = [row for row in rows if row.get("samples_novel") is not None and row.get("samples")]
    newest = head.newest()
    size = f"{text.size(record.data.size)} in the store" if record.data else ""
    at_once = "checked when the run began" if head.step else ""
    lines = [
        _tick(bool(record.data), "Data is there", _seen(seen, "data", size)),
        _tick(_fine(seen, "dependencies", head.step), "Dependencies install",
              _seen(seen, "dependencies", at_once)),
        _tick(_fine(seen, "memory", head.step), "Memory fits",
              _seen(seen, "memory", "it has trained")),
        _tick(head.step > 0, "Training loop runs", f"step {head.step:,}, {head.state}"),
        _tick(newest is not None, "Checkpoints save", "" if newest is None else
              f"{len(head.kept)} kept, the newest of step {newest.step:,}, "
              f"{text.size(newest.size)}, sha256 {newest.sha256[:12]}…"),
        _tick(_falls(trained, "loss") or _falls(held, RANKING), "Loss decreases", "; ".join(
            f"{name} {part[0][key]:.4f} to {part[-1][key]:.4f}"
            for name, key, part in (("training", "loss", trained), ("held out", RANKING, held))
            if part
        )),
        _tick(bool(drawn) and drawn[-1]["samples_novel"] > 0.5, "Samples are new",
              f"{drawn[-1]['samples_novel']:.0%}: {' '.join(drawn[-1]['samples'][:3])}"
              if drawn else _seen(seen, "samples", "none drawn yet")),
    ]  # fmt: skip
    return "\n".join(lines)


def _falls(rows: list[dict[str, Any]], key: str) -> bool:
    return len(rows) > 1 and bool(rows[-1][key] < rows[0][key])


def _fine(seen: dict[str, Any], name: str, step: int) -> bool:
    return seen[name]["status"] in ("pass", "warn") if name in seen else step > 0


def _seen(seen: dict[str, Any], name: str, otherwise: str) -> str:
    return str(seen[name]["seen"]) if name in seen else otherwise


def _tick(holds: bool, what: str, figures: str) -> str:
    return f"[{'x' if holds else ' '}] {what:<22}{figures}"
