"""about.json: labels and notes that people give a run, to find it again and to say what it was for.

It lies among the launcher's objects, which no machine may write, and nothing is decided by it. Two
may write at once, so it is swapped. It goes with the run.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated

from mimir.errors import BadInput, Conflict, Corrupt, OtherFormat, StoreError
from mimir.runs import codec, layout
from mimir.runs.ranges import AtMost, Characters, Time
from mimir.runs.record import read_run
from mimir.runs.store import Store

FORMAT = 1
MOST_LABELS, MOST_NOTES = 32, 50
MOST_KEY, MOST_VALUE, MOST_TEXT = 40, 100, 1000
"""Characters of a label's two parts, and of a note."""
TRIES = 20
_KEY = re.compile(f"[a-z0-9][a-z0-9_.-]{{0,{MOST_KEY - 1}}}")


@dataclass(frozen=True)
class Note:
    """A remark. time: unix s by the store's clock."""

    time: Time
    text: Annotated[str, Characters(MOST_TEXT)]


@dataclass(frozen=True)
class About:
    """What people said of a run; notes are in the order in which they were written."""

    labels: Mapping[str, Annotated[str, Characters(MOST_VALUE)]] = field(default_factory=dict)
    notes: Annotated[tuple[Note, ...], AtMost(MOST_NOTES)] = ()
    nonce: str = ""

    def __post_init__(self) -> None:
        if len(self.labels) > MOST_LABELS or not all(map(_KEY.fullmatch, self.labels)):
            raise Corrupt(f"its labels are more than {MOST_LABELS}, or have illegal names")

    @property
    def words(self) -> str:
        """The labels, for people."""
        return ", ".join(f"{key}={value}" for key, value in sorted(self.labels.items()))


NOTHING = About()


def read(store: Store, run: str) -> About:
    """What was said of a run, NOTHING for one of which nothing was. Corrupt for what is none."""
    return _read(store, run)[0]


def label(store: Store, run: str, labels: Mapping[str, str]) -> About:
    """Set labels; an empty value takes one away. BadInput for too many, or no such run."""

    def changed(about: About) -> About:
        made = {**about.labels, **labels}
        made = {key: value for key, value in made.items() if value}
        if len(made) > MOST_LABELS:
            raise BadInput(f"run {run} would have {len(made)} labels, and {MOST_LABELS} are the "
                           "most: take some away by KEY=")  # fmt: skip
        return replace(about, labels=made)

    return _change(store, run, changed)


def note(store: Store, run: str, text: str) -> About:
    """Add a note. BadInput for an empty or too long one, too many of them, or no such run."""
    if not text.strip() or len(text) > MOST_TEXT:
        raise BadInput(f"a note has 1 to {MOST_TEXT} characters, and this one has {len(text)}")
    made = Note(store.now(), text)

    def changed(about: About) -> About:
        if len(about.notes) >= MOST_NOTES:
            raise BadInput(f"run {run} has {MOST_NOTES} notes, which are the most: take one away "
                           "by --remove NUMBER")  # fmt: skip
        return replace(about, notes=(*about.notes, made))

    return _change(store, run, changed)


def without_note(store: Store, run: str, number: int) -> About:
    """Take a note away, counted from 1. BadInput if there is none of that number."""

    def changed(about: About) -> About:
        if not 1 <= number <= len(about.notes):
            raise BadInput(f"run {run} has {len(about.notes)} notes, and none of number {number}")
        return replace(about, notes=about.notes[: number - 1] + about.notes[number:])

    return _change(store, run, changed)


def pairs(words: Iterable[str], option: str) -> dict[str, str]:
    """Labels from "key=value" each; BadInput, naming the option, for what is none.

    Blanks around a word are left out, and a comma is refused: options split their words there.
    """
    found: dict[str, str] = {}
    for word in map(str.strip, words):
        key, equals, value = word.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise BadInput(
                f"{option} {word!r} is no KEY=VALUE: a key has 1 to {MOST_KEY} of a-z, 0-9, '-', "
                "'_' and '.'"
            )
        if "," in value:
            raise BadInput(
                f"the value of label {key} has a comma, which separates labels elsewhere: leave it "
                "out"
            )
        if len(value) > MOST_VALUE or not value.isprintable():
            raise BadInput(f"the value of label {key} must be at most {MOST_VALUE} characters that "
                           "can be printed")  # fmt: skip
        if key in found:
            raise BadInput(f"label {key} is given twice")
        found[key] = value
    return found


def fits(about: About, wanted: Mapping[str, str | None]) -> bool:
    """Whether a run has all these labels; None: with any value."""
    return all(
        key in about.labels and value in (None, about.labels[key]) for key, value in wanted.items()
    )


def _read(store: Store, run: str) -> tuple[About, str]:
    key = layout.about_key(run)
    found = store.read(key)
    if found is None:
        return NOTHING, ""
    return codec.typed(About, codec.unsealed(found.data, FORMAT, key), key), found.version


def _change(store: Store, run: str, changed: Callable[[About], About]) -> About:
    """Swap until it succeeds or `changed` refuses."""
    before = read_run(store, run)
    for _ in range(TRIES):
        about, version = _read(store, run)
        # No body of a swap may repeat.
        made = replace(changed(about), nonce=secrets.token_hex(8))
        body = codec.sealed(asdict(made), FORMAT)
        key = layout.about_key(run)
        try:
            if version:
                store.compare_and_swap(key, body, version)
            else:
                store.put_if_absent(key, body)
        except Conflict:
            if _read(store, run)[0].nonce != made.nonce:
                continue
        # A removal that has looked already leaves what is written now to the next run of the name.
        if store.read(layout.record_key(run)) is None:
            store.delete(key)
            raise BadInput(f"run {before.name} was removed meanwhile")
        return made
    raise StoreError(f"labels and notes of run {run} are changed all the time: try again")


def unless_damaged(store: Store, run: str) -> tuple[About, str]:
    """As `read`; for what this Mimir cannot read NOTHING, and a sentence that says why."""
    try:
        return read(store, run), ""
    except (Corrupt, OtherFormat) as error:
        return NOTHING, f"its labels and notes cannot be read: {error}"
