"""Which runs a sweep has, from the words of the user: a grid, random draws from it, a file.

    lr=1e-3,3e-4 seed=0..4        every combination: 10 runs
    lr=1e-4..1e-2 dim=64,128      a range of decimals has no steps: only --random N draws from it

A file is a YAML list of mappings from settings to values; each of its lines is combined with each
point of the grid.
"""

import hashlib
import itertools
import math
import os
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.contract import redaction
from mimir import settings_input
from mimir.config import SETTINGS
from mimir.errors import BadInput
from mimir.runs.sweep import MOST_RUNS
from mimir.text import nearest, one_line

KNOWN = ("preset", *SETTINGS)
"""What may differ between runs."""
DECADE = 10.0
"""A range of decimals over so much or more is drawn from by its logarithm."""
IN_VAIN = 100
"""Draws, for each point that is known, without a new one: the last of n equally likely points is
then missed once in e^100 times."""
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
_SECRET_NAME = re.compile(r"SECRET|TOKEN|PASSWORD|API_KEY|ACCESS_KEY", re.I)


@dataclass(frozen=True)
class Between:
    """All numbers from low to high."""

    low: float
    high: float


Values = list[Any] | Between


def runs(grid: str, draws: int, file: str, name: str) -> list[dict[str, Any]]:
    """What each run sets, in order: raw values, which the configuration still checks.

    Args:
        draws: runs to draw at random from the grid, 0 for all of it.
        name: of the sweep: equal names and grids draw equal runs.

    Raises:
        BadInput: what is wrong, and where.
    """
    check_no_secret(grid)
    axes = _axes(grid)
    rows = _rows(file) if file else [{}]
    for row, axis in itertools.product(rows, axes):
        if axis in row:
            raise BadInput(f"{axis} stands in the grid and in {file}: remove it from one of them")
    if draws < 0:
        raise BadInput(f"--random is {draws}, but must be a number of runs")
    if draws:
        must_be_few(draws * len(rows))
        points = _drawn(axes, draws, f"{name} {grid}")
    else:
        points = _all(axes, len(rows))
    if not axes and not file:
        raise BadInput("a sweep needs --grid 'NAME=VALUE,VALUE …' or --file: neither says anything")
    return [{**row, **point} for row in rows for point in points]


def must_be_few(count: int) -> None:
    """BadInput for more runs than a sweep may have."""
    if count > MOST_RUNS:
        raise BadInput(
            f"this grid has {count:,} runs, and a sweep has at most {MOST_RUNS}: leave values out, "
            f"or draw some of them by --random N"
        )


def check_no_secret(text: str) -> None:
    """BadInput, which does not repeat it, if a text holds what looks like a secret."""
    secrets = redaction.Secrets()
    secrets.learn(*(v for n, v in os.environ.items() if _SECRET_NAME.search(n)))
    if secrets.clean(text) != text:
        raise BadInput(
            "what is given as a setting looks like a secret, and settings are stored for all to "
            "read: nothing is submitted; give keys by environment variables (docs/providers.md)"
        )


def check_name(name: str, where: str) -> None:
    """BadInput, with the nearest, for what is no setting."""
    if name not in KNOWN:
        raise BadInput(f"{where} names no setting {name!r}{nearest(name, KNOWN)}")


def _axes(grid: str) -> dict[str, Values]:
    axes: dict[str, Values] = {}
    for part in grid.split():
        name, equals, text = part.partition("=")
        name = name.replace("-", "_")
        if not equals:
            raise BadInput(
                f"the grid has {one_line(part)!r} where NAME=VALUE,VALUE or NAME=FIRST..LAST is "
                "expected"
            )
        check_name(name, "the grid")
        if name in axes:
            raise BadInput(f"the grid names {name} twice: write all its values behind one '='")
        axes[name] = _values(name, text)
    return axes


def _values(name: str, text: str) -> Values:
    if ".." in text and "," not in text:
        return _range(name, text)
    values: list[Any] = []
    for word in text.split(","):
        if not word:
            raise BadInput(f"{name} has an empty value in the grid: {name}={one_line(text)}")
        if ".." in word:
            found = _range(name, word)
            if isinstance(found, Between):
                raise BadInput(f"{name} has a range of decimals beside other values: write one")
            values += found
        else:
            values.append(value_of(word))
    for value in values:
        if values.count(value) > 1:
            raise BadInput(f"{name} has the value {value} twice in the grid: remove one")
    return values


def _range(name: str, text: str) -> Values:
    first, _, last = text.partition("..")
    ends = [value_of(first), value_of(last)]
    shown = f"{name}={one_line(text)}"
    if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends):
        raise BadInput(f"the grid has {shown}, but a range is FIRST..LAST of two numbers")
    if ends[0] > ends[1]:
        raise BadInput(f"the range {shown} runs backwards: write {name}={last}..{first}")
    if not (_WHOLE.fullmatch(first) and _WHOLE.fullmatch(last)):
        if ends[0] == ends[1]:
            return [ends[0]]
        return Between(float(ends[0]), float(ends[1]))
    must_be_few(ends[1] - ends[0] + 1)
    return list(range(ends[0], ends[1] + 1))


def value_of(word: str) -> Any:
    """A whole number, a finite decimal, or else the word itself."""
    if _WHOLE.fullmatch(word):
        return int(word)
    try:
        number = math.nan if "_" in word else float(word)
    except ValueError:
        return word
    return number if math.isfinite(number) else word


def _all(axes: Mapping[str, Values], times: int) -> list[dict[str, Any]]:
    count = times
    for name, values in axes.items():
        if isinstance(values, Between):
            raise BadInput(
                f"{name} has a range of decimals, which has no steps: list its values, or draw "
                "from it by --random N"
            )
        count *= len(values)
    must_be_few(count)
    lists = [values for values in axes.values() if not isinstance(values, Between)]
    return [dict(zip(axes, point, strict=True)) for point in itertools.product(*lists)]


def _drawn(axes: Mapping[str, Values], draws: int, seed: str) -> list[dict[str, Any]]:
    """So many different points, in the order in which they are drawn."""
    count = math.prod(
        math.inf if isinstance(values, Between) else len(values) for values in axes.values()
    )
    if not axes or draws > count:
        raise BadInput(f"--random {draws} asks for more different runs than the grid has")
    rng = random.Random(int.from_bytes(hashlib.sha256(seed.encode()).digest()))
    points: list[dict[str, Any]] = []
    in_vain = 0
    while len(points) < draws:
        point = {name: _draw(values, rng) for name, values in axes.items()}
        in_vain += 1
        if point not in points:
            points.append(point)
            in_vain = 0
        elif in_vain >= IN_VAIN * max(1, len(points)):
            raise BadInput(
                f"--random {draws} asks for more different runs than the grid has: {len(points)} "
                "were found, as ranges are drawn from in four digits: widen them, or draw fewer"
            )
    return points


def _draw(values: Values, rng: random.Random) -> Any:
    """One value; of a range in four digits, so that it can be read and typed."""
    if not isinstance(values, Between):
        return values[int(rng.random() * len(values))]
    low, high = values.low, values.high
    if low > 0 and high / low >= DECADE:
        number = math.exp(math.log(low) + rng.random() * (math.log(high) - math.log(low)))
    else:
        number = low + rng.random() * (high - low)
    return min(high, max(low, float(f"{number:.4g}")))


def _rows(file: str) -> list[dict[str, Any]]:
    path = Path(file).expanduser()
    try:
        with path.open("rb") as opened:
            content = opened.read(settings_input.MOST_BYTES + 1)
    except OSError as error:
        raise BadInput(f"the file {path} cannot be read: {error.strerror}") from None
    check_no_secret(content.decode(errors="replace"))
    body = settings_input.read(content, str(path))
    if not isinstance(body, list) or not body or not all(isinstance(row, dict) for row in body):
        raise BadInput(f"{path} must be a list of mappings, such as `- {{lr: 1e-3, dim: 64}}`")
    must_be_few(len(body))
    return [_row(row, f"{path}, run {number}") for number, row in enumerate(body, 1)]


def _row(row: Mapping[Any, Any], where: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in row.items():
        name = str(key).replace("-", "_")
        check_name(name, where)
        if value is None or value == "":
            raise BadInput(f"{where}: {name} has an empty value")
        if isinstance(value, Sequence | Mapping) and not isinstance(value, str):
            raise BadInput(f"{where}: {name} has several values: lists belong into --grid")
        made[name] = value
    return made
