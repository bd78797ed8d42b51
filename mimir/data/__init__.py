"""Peptide data: build a data set, verify anybody's, pack it into one file, load that file.

    fetch       UniProt                  -> proteomes, as FASTA with a record of their source
    build       proteomes and pairs      -> CSV `sequence,label,target` and a sidecar of groups
    verify      CSV                      -> report that names row, line and column of what is wrong
    pack        CSV (and its sidecar)    -> one safetensors file with a split that does not leak
    links       that file                -> whether what is held out is linked to what is trained
    peptides    that file                -> arrays

    uniprot                    the service that fetch asks
    proteins, pairs, windows   read by build: FASTA, known pairs, windows drawn from proteins
    columns, table, sidecar    the CSV as arrays, and the groups that lie beside it
    scan, doubts               what is wrong with a CSV, and what is odd without being wrong
    groups, keys               which background rows belong together, found by k-mers
    thin                       which pairs are left out beforehand
    similar, split             which peptides are near copies; what is held out, and what left out
    opened                     a data set as a user names it; a CSV is packed once
    mix                        how many pairs a batch holds
    target_sequences           sequences of the targets, beside the CSV
    likeness, composition      which targets are alike, and the letters of their peptides
    baselines                  what simple models reach on the held-out rows
    alphabet                   letters and token ids
    terms                      licence and citation, where they are known
    draw                       random numbers that no version of numpy changes
    pepbenchmark               the interaction task of PepBenchmark
    memory                     whether packing fits into this machine
    files, progress, commands  files with a record, bars, `python -m mimir data`

No torch here. Importing this package imports none of the modules.
"""

from pathlib import Path

GUIDE_ROWS = 1_003_470
"""Rows of the data set that the training guide builds."""
PACKED = ".safetensors"
"""How the name of a packed file ends; a file of another name is taken for a CSV."""


def sample_path() -> Path:
    """Path of the small real data set that ships with the package (see its README.md)."""
    return Path(__file__).parent / "sample" / "sample.csv"
