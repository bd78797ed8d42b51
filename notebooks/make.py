"""Writes train_colab.ipynb from train_colab.py: `python notebooks/make.py`.

--check         only compare: exit code 1 if the notebook is not what would be written
--wheel FOLDER  instead, put Mimir's wheel there, to upload to a notebook
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
SOURCE, NOTEBOOK = FOLDER / "train_colab.py", FOLDER / "train_colab.ipynb"
_HOURS = re.compile(r"\{(\w+) on (\w+), (sample|million)\}")
"""In the text: how long a preset trains on a GPU, as `mimir estimate` says."""
_MARK = re.compile(r"^# %% (\[markdown\] )?([a-z]+)\n", re.MULTILINE)


def cells(source: str) -> list[dict[str, Any]]:
    """The cells of a file in percent format. Their ids are the words after the marks."""
    found = []
    marks = [*_MARK.finditer(source)]
    for mark, end in zip(marks, [m.start() for m in marks[1:]] + [len(source)], strict=True):
        text = source[mark.end() : end].strip("\n")
        if mark[1]:
            text = _HOURS.sub(hours, re.sub(r"^# ?", "", text, flags=re.MULTILINE))
            found.append(_cell(mark[2], "markdown", text))
        else:
            # Colab's forms know `#@param` without the space that Python's formatters put there.
            text = re.sub(r"# @(title|param|markdown)", r"#@\1", text).replace("  #@", " #@")
            found.append({**_cell(mark[2], "code", text), "execution_count": None, "outputs": []})
    return found


def hours(named: re.Match[str]) -> str:
    """What `estimate` says, with what the bench measured and without this computer's runs."""
    sys.path.insert(0, str(FOLDER.parent))
    from launch.commands.training import forecasts, training_of
    from launch.pricing import measured
    from launch.pricing.workload import GUIDE_ROWS
    from mimir.text import duration

    rows = GUIDE_ROWS if named[3] == "million" else 0
    work, _ = training_of(named[1], {}, "", rows)
    (one,), _ = forecasts(work, [named[2]], measured.find(work.config, length=work.length))
    return duration(3600 * one.hours)


def _cell(id: str, kind: str, text: str) -> dict[str, Any]:
    return {"id": id, "cell_type": kind, "metadata": {}, "source": text.splitlines(keepends=True)}


def notebook(source: str) -> str:
    """The notebook's JSON, the same bytes each time."""
    body = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "accelerator": "GPU",
            "colab": {"gpuType": "T4", "provenance": []},
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "cells": cells(source),
    }
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--wheel", type=Path, metavar="FOLDER")
    words = parser.parse_args()
    if words.wheel:
        sys.path.insert(0, str(FOLDER.parent))
        from launch.payload import wheel
        from launch.pricing.measured import BENCH, FILES

        # So that a notebook forecasts with what was measured, as a checkout does.
        measured = {f"launch/measurements/{p.name}": p.read_bytes() for p in BENCH.glob(FILES)}
        path = words.wheel / wheel.file_name()
        path.write_bytes(wheel.content(measured))
        print(path)
        return 0
    made = notebook(SOURCE.read_text(encoding="utf-8"))
    if words.check:
        if not NOTEBOOK.is_file() or NOTEBOOK.read_text(encoding="utf-8") != made:
            print(f"{NOTEBOOK} is not what {SOURCE.name} gives: run python notebooks/make.py")
            return 1
        return 0
    NOTEBOOK.write_text(made, encoding="utf-8")
    print(NOTEBOOK)
    return 0


if __name__ == "__main__":
    sys.exit(main())
