"""Peptide data: build a data set, verify anybody's, pack it into one file, load that file.

    build    proteomes and pairs      -> CSV `sequence,label,target` and a sidecar of groups
    verify   CSV                      -> report that names row, line and column of what is wrong
    pack     CSV (and its sidecar)    -> one safetensors file with a split that does not leak
    load     that file                -> arrays

No torch here. Importing this package imports none of the modules.
"""

from pathlib import Path


def sample_path() -> Path:
    """Path of the small real data set that ships with the package (see its README.md)."""
    return Path(__file__).parent / "sample" / "sample.csv"
