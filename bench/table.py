"""The table of docs/speed.md, from the newest result of each device: `python -m bench.table`."""

from pathlib import Path
from typing import Any

from mimir import cli

_TITLES = {
    "ours": "Mimir",
    "eager": "Mimir, eager",
    "compiled": "plain trainer, compiled",
    "autocast": "plain trainer, autocast",
    "huggingface": "Hugging Face's Trainer, BERT",
    "base": "plain trainer",
}


def main(*, results: str = "") -> None:
    """Print the newest results as Markdown, one table for each device.

    Args:
        results: folder of the result files (default: bench/results).

    Example:
        python -m bench.table
    """
    from bench import results as files

    found = files.newest(Path(results) if results else files.FOLDER)
    print("\n\n".join(_table(result) for result in found))


def _table(result: dict[str, Any]) -> str:
    machine = result["machine"]
    if machine["gpu"]:
        where = f"{machine['gpu']}, CUDA {machine['cuda']}"
    else:
        where = f"{machine['cpu']}, {machine['threads']} of {machine['cores']} cores"
    lines = [
        f"{where}, torch {machine['torch']}, Python {machine['python']}, {result['date'][:10]} "
        f"(revision {machine['revision'] or 'unknown'}; median of {result['blocks']} blocks, "
        f"least to most in brackets; load average before: {result['load_average']['start']}):",
        "",
        "| preset | side | ms per step | steps against plain | residues/s | GFLOP/s "
        "| share of matrix peak | peak memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    presets = result["presets"].items()
    for name, figures in sorted(presets, key=lambda item: float(item[1]["gflop_per_step"])):
        # Before products were launched by a graph, a GPU's peak was how fast Python launches them.
        honest = not machine["gpu"] or "own_product_gflops" in figures
        for side, own in figures["sides"].items():
            ratio = figures["ratio"].get(side)
            times = (
                f"x{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"
                if ratio
                else "x1"
            )
            lines.append(
                f"| {name} | {_TITLES[side]} | {_three(own['median_ms'])} "
                f"({_three(own['min_ms'])} to {_three(own['max_ms'])}) | {times} "
                f"| {own['residues_per_s']:,.0f} | {own['gflops']:,.1f} "
                f"| {_share(own['share_of_peak']) if honest else 'not measured'} "
                f"| {_memory(own)} |"
            )
    return "\n".join(lines)


def _memory(own: dict[str, Any]) -> str:
    """What the process held: on a GPU as nvidia-smi says, where it says so."""
    mib = own.get("device_mib") or own.get("peak_mib")
    return "not measured" if mib is None else f"{mib:,.0f} MiB"


def _share(value: float) -> str:
    return f"{value:.0%}" if value >= 0.1 else f"{value:.1%}"


def _three(value: float) -> str:
    """Three significant digits, never in powers of ten."""
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


if __name__ == "__main__":
    cli.run("python -m bench.table", main)
