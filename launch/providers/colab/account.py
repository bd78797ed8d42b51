"""Compute units: what a Colab account has of them, and what its machines spend.

An account with units spends them for as long as a session exists, a T4's too; one without has
free sessions. So its offers have a price only where there is a balance, or where nobody can tell.
"""

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace

from launch.contract.errors import AuthFailed, ProviderError
from launch.contract.offer import Offer
from launch.contract.provider import Check
from launch.contract.redaction import Secrets
from launch.providers.colab import errors
from launch.providers.colab import folder as colab_folder
from launch.providers.colab.cli import Cli
from launch.providers.colab.offers import CPU
from mimir.errors import MimirError

RATES = {"T4": 2.0, "L4": 5.0, "G4": 9.0, "A100": 12.5, "H100": 20.0}
"""Units per hour, by Colab's names of GPUs: the highest that users report, rounded up (T4 1.96, L4
4.82, G4 8.9, A100 12.29; read in November 2026), because limits follow from it. Colab publishes
none and changes them. Of the H100 there is no report: a guess above all others. A machine without
a GPU spends 0.08, which counts as nothing."""
UNIT = 0.10
"""$ of a unit: 100 cost $9.99."""
FRESH = 60.0
"""Seconds for which an answer holds: one command asks several times."""
_BALANCE = re.compile(r"Current balance: ([0-9][0-9,]*(?:\.[0-9]+)?) compute units")


class Account:
    """The account that is signed in to Google's CLI."""

    def __init__(
        self, cli: Cli, secrets: Secrets, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cli, self._secrets, self._clock = cli, secrets, clock
        self._asked = float("-inf")
        self._balance: float | None = None

    def balance(self) -> float | None:
        """Its compute units; None if that cannot be told now.

        Raises:
            BadInput: the CLI cannot be run.
            AuthFailed: nobody is signed in.
        """
        if self._clock() - self._asked > FRESH:
            try:
                found = _BALANCE.search(self._usage())
                self._balance = float(found[1].replace(",", "")) if found else None
            except AuthFailed:
                raise
            except ProviderError:
                self._balance = None
            self._asked = self._clock()
        return self._balance

    def priced(self, offer: Offer, name: str) -> Offer:
        """The offer, of Colab's machine of this name, with what it costs this account in $/h."""
        free = self.balance() == 0.0 or name in ("", CPU)
        return offer if free else replace(offer, price=round(RATES[name] * UNIT, 4))

    def sentence(self) -> str:
        """How prices come about, "" where there are none."""
        units = self.balance()
        if units == 0.0:
            return ""
        has = "may have compute units (the CLI did not tell)"
        if units is not None:
            has = f"has {units:.2f} compute units"
        return (
            f"colab: this account {has}, and a session spends them: prices are estimates at "
            f"${UNIT:.2f} a unit, so that $1 is {1 / UNIT:.0f} units"
        )

    def check(self) -> Check:
        """For `doctor`: the CLI, the login, the balance."""
        try:
            told = self._secrets.clean(errors.printed(self._usage()))
        except MimirError as error:
            return Check("colab", "fail", self._secrets.clean(str(error)))
        return Check("colab", "ok", ", ".join(told.splitlines()))

    def _usage(self) -> str:
        home = colab_folder.root() / "check"
        try:
            self._cli.furnish(home, "check")
            self._cli.check(home)
            said = self._cli.ask(home, "usage")
        finally:
            shutil.rmtree(home, ignore_errors=True)
        if said.code:
            raise errors.failure(said.text, "tell the balance")
        return said.text
