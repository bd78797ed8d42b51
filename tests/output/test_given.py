"""Which data may judge a model: those that it was trained on, in the same split."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mimir.data.pack import load, pack
from mimir.errors import BadInput
from mimir.output import given
from tests.e2e.jobs import write_data
from tests.output.test_ensemble import opened


def test_only_the_data_that_was_trained_on_is_taken(tmp_path: Path) -> None:
    csv = write_data(tmp_path / "data.csv", 120)
    same, other = (tmp_path / f"{seed}.safetensors" for seed in (0, 1))
    for seed, path in enumerate((same, other)):
        pack(csv, path, validation=0.1, seed=seed, progress=io.StringIO())
    assert load(same).vocabulary == load(other).vocabulary
    model = replace(opened(), data_sha256=load(same).digest)
    untold = replace(model, data_sha256="")
    assert given.peptides_of("", str(same), "", model).digest == model.data_sha256
    refused: list[tuple[tuple[str, str], Any, str]] = [
        (("", str(other)), model, "1.safetensors is not the data set that the model was trained"),
        (("a-run", str(other)), model, "may hold out what was trained: give --data the packed"),
        (("", str(same)), untold, "the model's not told by its config.json; pull the run again"),
    ]
    for (run, data), which, says in refused:
        with pytest.raises(BadInput, match=says):
            given.peptides_of(run, data, "", which)
