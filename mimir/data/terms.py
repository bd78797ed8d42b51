"""Under which terms a data set is and whom to cite, as far as that is known.

It is known of the sample that Mimir ships, by the digest of its CSV: `sample/README.md` has the
details. Of any other data set only its builder knows it, so nothing is said.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache

from mimir.data import sample_path

_FIELD = re.compile(r"^  (\w+) = \{+(.*?)\}+,$", re.MULTILINE)


@dataclass(frozen=True)
class Terms:
    """name: of the data set, "" if it is not known. licence: a sentence. citations: BibTeX."""

    name: str
    licence: str
    citations: tuple[str, ...] = ()

    @property
    def references(self) -> tuple[str, ...]:
        """What to cite as plain text, one each; () if that is not known."""
        found = [dict(_FIELD.findall(each)) for each in self.citations]
        return tuple("{author}: {title}, {url} ({note})".format(**each) for each in found)


def _cited(key: str, **fields: str) -> str:
    body = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@misc{{{key},\n{body}}}\n"


SAMPLE = Terms(
    "mimir-sample",
    "Mimir's own sample: protein sequences from UniProt (CC BY 4.0); pairs from the Protein Data "
    "Bank (CC0 1.0) as tabulated by PepMLM and PepInter (MIT)",
    (
        _cited("uniprot", author="{The UniProt Consortium}", title="{UniProt}",
               url="https://www.uniprot.org", note="protein sequences, CC BY 4.0"),
        _cited("wwpdb", author="{wwPDB}", title="{Protein Data Bank}", url="https://www.wwpdb.org",
               note="peptide complexes, CC0 1.0"),
        _cited("pepmlm", author="{Chatterjee Lab}", title="{PepMLM}",
               url="https://github.com/programmablebio/pepmlm",
               note="tables of PepNN's complexes, commit 24f6966e, MIT licence"),
        _cited("pepinter", author="{zhaisilong}", title="{PepInter}",
               url="https://github.com/MolAstra/PepInter",
               note="table of natural complexes, commit 59274a84, MIT licence"),
    ),
)  # fmt: skip
UNKNOWN = Terms("", "unknown: this data set is not Mimir's own; whoever built it knows its terms")
MIMIR = _cited("mimir", author="{The Mimir authors}",
               title="Mimir: trains a masked-diffusion generator of short peptides",
               note="software, Apache-2.0")  # fmt: skip
"""To cite for a model; CITATION.cff has more."""


@cache
def _sample_sha256() -> str:
    return hashlib.sha256(sample_path().read_bytes()).hexdigest()


def of_csv(sha256: str) -> Terms:
    """The terms of the data set with this SHA-256 (hex) of its CSV."""
    return SAMPLE if sha256 == _sample_sha256() else UNKNOWN
