"""Which of a user's words name a region, as the services write their regions.

    RunPod      "EU-RO-1", "US-TX-3": an area, a country or state, a number
    Vast.ai     "Sweden, SE", "California, US": a place and ISO 3166's code of its country
    Lambda      "us-west-1", "europe-central-1"

A word means a region that it is, or that begins with it and a dash; of a list of places, any one.
"DE" is Germany for Vast.ai, and not the state of RunPod's "US-DE-1". "EU" means the countries of
the European Union where a service names countries; RunPod calls its other European places "EUR".
"""

from collections.abc import Iterable, Sequence

COUNTRIES = frozenset(
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR "
    "BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ "
    "EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW "
    "GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY "
    "KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV "
    "MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY "
    "QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG "
    "TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM "
    "ZW".lower().split()
)
"""ISO 3166-1 alpha-2."""
UNION = frozenset(
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
    .lower().split()
)  # fmt: skip
"""Members of the European Union, 2026."""


def words_of(given: str) -> tuple[str, ...]:
    """The words of "eu,US-TX-3", in lower case; () for "" and for "any"."""
    words = tuple(dict.fromkeys(w.strip().lower() for w in given.split(",") if w.strip()))
    return () if words == ("any",) else words


def within(region: str, words: Sequence[str]) -> bool:
    """Whether a service's region is one of those that are meant; any is, if there are no words."""
    places = [part.strip().lower() for part in region.split(",")]
    return not words or any(_is(place, word) for place in places if place for word in words)


def unknown(words: Sequence[str], known: Iterable[str]) -> list[str]:
    """The words that mean none of these regions."""
    names = list(known)
    return [word for word in words if not any(within(name, (word,)) for name in names)]


def _is(place: str, word: str) -> bool:
    country = word == "eu" and place in UNION
    return place == word or place.startswith(f"{word}-") or country
