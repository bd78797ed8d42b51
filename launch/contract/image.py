"""What a container image asks of a machine, and whether torch's compiler works in it.

Facts of PyTorch's own images: the tags; code for GPUs by torch's release notes and its CI's list of
architectures (CUDA 12.8 builds have Volta up to 2.10, CUDA 13 builds begin at Turing); runtime
images of 2.9 hold no compiler (pytorch/pytorch#170235), run as root, and have apt-get, so that the
bootstrap installs one (launch/payload/bootstrap.py).
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

OURS = re.compile(r"(?:^|/)mimir(?:[:@].*)?$")
PYTORCH = re.compile(
    r"(?:(?:docker\.io|ghcr\.io)/)?pytorch/pytorch:(\d+)\.(\d+)\.\d+-cuda(\d+)\.(\d+)-cudnn\d+-"
    r"(runtime|devel)"
)


@dataclass(frozen=True)
class Image:
    """name: as an engine takes it. since: oldest compute capability that its torch has code for.

    cuda: least CUDA that a host's driver must know: 12.8 is driver 570, 13.0 is driver 580.
    compiles: whether torch's compiler works there, once what is missing is installed.
    installs: whether the compiler has to be installed at the start. known: whether this is known
    of the image, and not the public one's needs.
    """

    name: str
    since: tuple[int, int]
    cuda: float
    compiles: bool = True
    installs: bool = False
    known: bool = True

    @property
    def note(self) -> str:
        """What to tell of it before it is paid for, "" for nothing."""
        if self.known:
            return ""
        return (
            f"nothing is known of the image {self.name}: hours are forecast as without a compiler, "
            "and machines are chosen as for the public image"
        )


PUBLIC = Image(
    "pytorch/pytorch:2.9.1-cuda12.8-cudnn9-runtime", since=(7, 0), cuda=12.8, installs=True
)
"""Of PyTorch's own images the one for most of the GPUs that are rented: torch's CUDA 12.8 builds
from 2.8 to 2.10 have code for Volta (V100) up to Blackwell (B200, RTX 5090), before and after them
either end is missing. It has Python 3.11. Images are cached on hosts by tag, so it is a tag that
stays. Chosen from PyTorch's release notes; not run on a GPU."""


def wanted(name: str, environ: Mapping[str, str] = os.environ) -> Image:
    """The image that a machine starts: the one named, else $MIMIR_IMAGE, else the public one."""
    return of(name or environ.get("MIMIR_IMAGE") or PUBLIC.name)


def of(name: str) -> Image:
    """What is known of an image by its name."""
    if OURS.search(name):
        return Image(name, since=(7, 5), cuda=13.0)
    found = PYTORCH.fullmatch(name)
    if found is None:
        return Image(name, PUBLIC.since, PUBLIC.cuda, compiles=False, known=False)
    torch, cuda = (int(found[1]), int(found[2])), (int(found[3]), int(found[4]))
    if cuda >= (13, 0) or (cuda >= (12, 8) and torch >= (2, 11)):
        since = (7, 5)
    else:
        since = (7, 0) if cuda >= (12, 8) else (5, 0)
    return Image(name, since, float(f"{cuda[0]}.{cuda[1]}"), installs=found[5] == "runtime")
