"""The command `python -m mimir data fetch`."""

import json as json_text
import sys
from dataclasses import asdict

from mimir.atomic_file import STDOUT, OutFile
from mimir.errors import BadInput
from mimir.text import size


def fetch(
    *,
    proteome: str = "",
    organism: str = "",
    query: str = "",
    reviewed: bool = False,
    out: str = "",
    service: str = "https://rest.uniprot.org",
    json: bool = False,
) -> None:
    """Download proteins from UniProt, for `data build`.

    Writes gzipped FASTA, and beside it FILE.source.json with the licence (CC BY 4.0), UniProt's
    release, the query and the SHA-256. The file appears when it is complete and as many proteins
    have come as UniProt counts. Ends with exit code 75 if the service cannot be reached or does not
    give the whole answer, with 78 if it refuses the query or has no protein for it.

    Example:
        python -m mimir data fetch --proteome UP000005640 --reviewed --out human.fasta.gz
        python -m mimir data fetch --query taxonomy_id:10239 --reviewed --out viral.fasta.gz

    Args:
        proteome: ID of a proteome, such as UP000005640 (human).
        organism: instead, the number of a taxon, such as 9606 (human); its own entries only.
        query: instead, any query in UniProt's language; taxonomy_id:10239 are all viruses.
        reviewed: only entries of Swiss-Prot.
        out: the file to write (default: PROTEOME.fasta.gz, or uniprot.fasta.gz).
        service: address of the service, or of a mirror.
        json: print the record as JSON.
    """
    from mimir.data import uniprot  # here, because help needs none of it

    words = uniprot.query_of(str(proteome), str(organism), str(query), reviewed)
    named = str(out) or f"{proteome or 'uniprot'}.fasta.gz"
    if named == STDOUT:
        raise BadInput("a record is written beside the proteins: give --out a file")
    target = OutFile(named, beside=uniprot.BESIDE)
    print(f"fetch: {words} from {service}", file=sys.stderr)
    source = uniprot.fetch(
        words, target, service, tell=lambda sentence: print(f"fetch: {sentence}", file=sys.stderr)
    )
    if json:
        print(json_text.dumps(asdict(source), indent=2, sort_keys=True))
        return
    print(f"{target.path}: {source.proteins:,} proteins, {size(source.bytes)}")
    print(f"  query       {source.query}")
    print(f"  release     {source.release or 'not said'} {source.release_date}".rstrip())
    print(f"  licence     {source.licence}; attribute {source.attribution}")
    print(f"  sha256      {source.sha256}")
    print(f"  record      {target.path}{uniprot.RECORD}")
