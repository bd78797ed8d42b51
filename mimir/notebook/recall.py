"""Brings a run back from Drive into the folder of a new machine that is its store."""

from pathlib import Path

from mimir.errors import BadInput, Corrupt
from mimir.notebook import shown
from mimir.notebook.cells import Session
from mimir.notebook.drive import Folder
from mimir.runs import layout
from mimir.runs.content import sha256
from mimir.runs.record import read_run
from mimir.runs.status import read_head

ONE_SESSION = (
    "Train a run in ONE session at a time: two sessions that copy to Drive are not fenced against "
    "each other as those with a bucket are, and one would throw away what the other did."
)


def recall(session: Session) -> None:
    """Take the newest whole commit from Drive, unless this machine has the run already.

    Raises:
        BadInput: this machine has the run, but Drive has more of it: another session trained it.
        Corrupt: there are copies on Drive, and none of them is whole.
    """
    folder = session.on_drive()
    if folder is None:
        return
    print(f"Drive: {folder.path}\n{ONE_SESSION}")
    for name in folder.foreign():
        print(f"Drive: {name!r} is no copy of this run's commits: it is left alone")
    store, found = session.opened(), folder.archives()
    if store.read(layout.record_key(session.run)) is not None:
        head = read_head(store, session.run)
        print(f"This machine has the run already, at step {head.step:,}")
        if found and found[0].change > head.seq:
            _refuse(session, folder, head.seq)
        return
    if not found:
        print(f"Drive has no commit of run {session.run} yet")
        return
    with shown.counting("Reading the newest commit from Drive") as more:
        archive = folder.newest_whole(more)
    assert archive is not None
    # The names that are there now count too: one that was not whole may be by now.
    lost = [mark.change for mark in folder.archives() if mark > archive.mark]
    with shown.counting("Putting it into this machine's store") as more:
        archive.install(store, more, max(lost, default=-1))
    archive.path.unlink(missing_ok=True)
    print(
        f"Taken from Drive: run {session.run} at step {archive.head.step:,}, as attempt "
        f"{archive.head.attempt} left it"
    )


def _refuse(session: Session, folder: Folder, change: int) -> None:
    """Raise BadInput: Drive has newer commits than this machine, whose HEAD has this seq."""
    where = f"Drive has a newer commit of run {session.run} than this machine, of another session"
    try:
        with shown.counting("Reading the newest commit from Drive") as more:
            archive = folder.newest_whole(more, change)
    except Corrupt:
        raise BadInput(
            f"{where}, and no file of it is whole. Keep this runtime. Wait until Drive has all of "
            "it and press Run all; or delete that file on Drive, to go on with what is here"
        ) from None
    assert archive is not None
    archive.path.unlink(missing_ok=True)
    raise BadInput(
        f"{where} (step {archive.head.step:,}). Disconnect and delete this runtime, then press Run "
        "all: the new one takes that commit"
    )


def check_code(session: Session, wheel: Path) -> None:
    """BadInput if the wheel that lay on Drive is not the code that the run was begun with."""
    store = session.opened()
    if store.read(layout.record_key(session.run)) is None:
        return
    code = read_run(store, session.run).code
    if code is not None and sha256(wheel)[0] != code.sha256:
        raise BadInput(
            f"{wheel} is not the code that run {session.run} was begun with (SHA-256 "
            f"{code.sha256[:12]}…): delete it on Drive, or fill in code in the form"
        )


def is_on_drive(session: Session) -> bool:
    """Whether the newest file on Drive is of the run's newest commit."""
    folder = session.on_drive()
    return folder is not None and folder.holds(read_head(session.opened(), session.run))
