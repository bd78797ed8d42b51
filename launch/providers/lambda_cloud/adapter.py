"""Lambda Cloud: virtual machines, whose first boot runs the attempt's container.

The facts that shaped this adapter, of its documents as of August 2026; not tested on the real
service:
- a machine has no key of its own and no end of its own: turned off, it costs on, so that the
  launcher must end it;
- user data (launch/payload/cloud_init.py) is taken once and never shown again;
- there are no logs: they are read by SSH, with a host key that is made here for each machine;
- nothing is sold as spot, nothing is suspended;
- a machine is ordered with exactly one SSH key of the account.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from launch.contract import state
from launch.contract.cloud import (
    PREFIX,
    ContainerSpec,
    Instance,
    Leftover,
    State,
    parse_name,
)
from launch.contract.errors import AuthFailed, ProviderError, UnknownOutcome
from launch.contract.offer import Need, Offer
from launch.contract.provider import Caps, Check
from launch.payload import cloud_init
from launch.providers import ssh
from launch.providers.adapter import Adapter
from launch.providers.http import Absent
from launch.providers.lambda_cloud import errors
from mimir.errors import BadInput, MimirError

API = "/api/v1"
SPACING = {"": 1.0, "launch": errors.LAUNCH_PAUSE}
"""Least seconds between requests: one a second in all, five launches a minute."""
LAUNCH_TIMEOUT = 120.0
"""Seconds: a launch was seen to take more than a minute."""
USER = "ubuntu"
SSH_KEY = "mimir"
"""The account's SSH key that machines are ordered with."""


class Lambda(Adapter):
    """A Cloud.

    Args:
        environ: MIMIR_LAMBDA_SSH_PORT and MIMIR_LAMBDA_SSH_USER say how machines are entered
            (tests).
        folder: for our SSH key and the machines' host keys; the state folder if None.
    """

    name = errors.NAME
    catalogue_name = "lambdalabs"
    caps = Caps(paid=True, image=True, hosts={"": "Lambda's own data centres"})
    title = "Lambda"
    url = "https://cloud.lambda.ai"
    url_variable = "MIMIR_LAMBDA_URL"
    key_variable = "LAMBDA_API_KEY"
    key_advice = (
        "make one in its console under API keys, best in a workspace of its own, for it may do "
        "everything there; set LAMBDA_API_KEY"
    )
    spacing = SPACING
    explain = staticmethod(errors.explain)

    def __init__(
        self,
        *,
        environ: Mapping[str, str] = os.environ,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        folder: Path | None = None,
    ) -> None:
        super().__init__(environ=environ, transport=transport, clock=clock, sleep=sleep)
        self._folder = folder

    def offers(self, need: Need) -> list[Offer]:
        """What it has where is a hint: a launch may still be refused."""
        answer = self._http.read("GET", f"{API}/instance-types")
        return list(errors.offers(errors.data(answer, dict, "machine types"), need))

    def regions(self) -> list[str]:
        rows = errors.data(self._http.read("GET", f"{API}/regions"), list, "regions")
        return [str(row["name"]) for row in rows if isinstance(row, dict) and row.get("name")]

    def create(self, offer: Offer, boot: ContainerSpec, name: str) -> str:
        """As Cloud.create. Before it, our SSH key is put on the account if none is there."""
        ours = ssh.own(self._identity, SSH_KEY)
        host = ssh.new_pair(name)
        order = {
            "region_name": offer.key["region"],
            "instance_type_name": offer.key["type"],
            "ssh_key_names": [self._key_name(ours)],
            "name": name,
            "tags": _tags(name),
            "user_data": cloud_init.text(boot, host, (ours,)),
        }
        self.secrets.learn(host.private)
        pin = self._pin(name)
        _keep(pin, host.public)
        try:
            answer = self._http.send(
                "POST", f"{API}/instance-operations/launch", json=order, pace="launch",
                timeout=LAUNCH_TIMEOUT,
            )  # fmt: skip
        except MimirError as error:
            if not isinstance(error, UnknownOutcome):
                pin.unlink(missing_ok=True)
            if isinstance(error, Absent):
                raise BadInput(f"{error}: something that the order names is not there") from error
            raise
        held = answer.get("data") if isinstance(answer, dict) else None
        ids = held.get("instance_ids") if isinstance(held, dict) else None
        if not isinstance(ids, list) or not ids or not isinstance(ids[0], str) or not ids[0]:
            raise UnknownOutcome(f"Lambda accepted the order of {name} without naming a machine")
        return ids[0]

    def get(self, id: str) -> Instance | None:
        try:
            answer = self._http.read("GET", f"{API}/instances/{_id(id)}")
        except Absent:
            return None
        return errors.instance(errors.data(answer, dict, "machine"))

    def instances(self) -> list[Instance]:
        rows = errors.data(self._http.read("GET", f"{API}/instances"), list, "machines")
        return [each for each in map(errors.instance, rows) if each.name.startswith(PREFIX)]

    def terminate(self, id: str) -> None:
        """As Cloud.terminate; nothing is sent for one that is being ended, which fails there."""
        try:
            found = self.get(id)
        except AuthFailed:
            raise
        except ProviderError:
            pass  # a look that fails does not keep it from being ended
        else:
            if found is None or found.said in ("terminating", "terminated"):
                return
        try:
            answer = self._http.send(
                "POST", f"{API}/instance-operations/terminate", json={"instance_ids": [_id(id)]}
            )
        except Absent:
            return
        held = errors.data(answer, dict, "ended machines").get("terminated_instances")
        rows = held if isinstance(held, list) else []
        named = [row.get("name") for row in rows if isinstance(row, dict) and row.get("id") == id]
        if not named:
            raise ProviderError(f"Lambda does not name machine {id} among those that it ends")
        if parse_name(str(named[0])):
            self._pin(str(named[0])).unlink(missing_ok=True)

    def logs(self, id: str, lines: int) -> list[str]:
        """By SSH, from the computer that ordered the machine only.

        Raises:
            ProviderError: also if the machine does not show the host key that it was given.
        """
        found = self.get(id)
        if found is None or not found.address or found.state is State.PENDING or lines < 1:
            return []
        try:
            host_key = self._pin(found.name).read_text(encoding="ascii")
        except FileNotFoundError:
            raise ProviderError(
                f"the host key of {found.name} is not known here: only the computer that ordered "
                "a machine can look into it"
            ) from None
        door = ssh.Door(
            found.address, self._environ.get("MIMIR_LAMBDA_SSH_USER") or USER, host_key,
            self._identity, int(self._environ.get("MIMIR_LAMBDA_SSH_PORT") or 22),
        )  # fmt: skip
        return ssh.run(door, cloud_init.show(lines)).splitlines()[-lines:]

    def ending(self) -> Mapping[str, Any] | None:
        """None: any key that could end a machine could end all of the account's."""
        return None

    def leftovers(self) -> list[Leftover]:
        """The account's SSH key, which all machines of ours are ordered with."""
        how = "delete it in Lambda's console under SSH keys once no machine of ours is there"
        return [Leftover("SSH key", name, how) for name in self._keys() if name == SSH_KEY]

    def billed(self, ids: Sequence[str], since: float, until: float) -> Mapping[str, float] | None:
        """None: its document has no request for bills."""
        return None

    def checks(self) -> list[Check]:
        """Whether the key may look; what it may do besides, Lambda tells nobody."""
        found: list[Check] = []
        try:
            count = len(self.instances())
            found.append(Check("key", "ok", f"accepted; {count} machines are Mimir's"))
        except MimirError as error:
            return [Check("key", "fail", str(error))]
        try:
            stock = len(self.offers(Need()))
            found.append(Check("catalogue", "ok", f"{stock} machines with one GPU offered"))
        except MimirError as error:
            found.append(Check("catalogue", "fail", str(error)))
        return [
            *found,
            self._check_ssh(),
            Check(
                "may create and destroy", "warn",
                "no request tells this without renting; give Mimir a workspace of its own, for a "
                "key may do everything in its workspace",
            ),
            Check(
                "ends machines", "warn",
                "a machine at Lambda cannot end itself and costs until it is ended from outside: "
                "keep `python -m launch watch` running, or run `watch --once` from cron",
            ),
            Check(
                "balance and quota", "warn",
                "the API tells neither: Lambda bills afterwards, see the console's Billing page; "
                "an order beyond the account's quota is refused with Lambda's own words",
            ),
        ]  # fmt: skip

    def _check_ssh(self) -> Check:
        try:
            ours = ssh.own(self._identity, SSH_KEY)
            there = self._keys()
        except MimirError as error:
            return Check("ssh", "fail", str(error))
        if SSH_KEY not in there:
            return Check("ssh", "ok", f"the first order puts a key {SSH_KEY} on the account")
        same = there[SSH_KEY].split()[:2] == ours.split()[:2]
        whose = "this computer's" if same else "of another computer, machines take both"
        return Check("ssh", "ok", f"the account has a key {SSH_KEY}, {whose}")

    @property
    def _identity(self) -> Path:
        return (self._folder or state.folder()) / "lambda" / "id_ed25519"

    def _pin(self, name: str) -> Path:
        """Where the public host key of a machine is kept."""
        if parse_name(name) is None:
            raise BadInput(f"{name!r} is not the name of a machine of Mimir's")
        return (self._folder or state.folder()) / "lambda" / "hosts" / f"{name}.pub"

    def _keys(self) -> dict[str, str]:
        """The account's SSH keys: name -> public key."""
        rows = errors.data(self._http.read("GET", f"{API}/ssh-keys"), list, "SSH keys")
        return {
            str(row["name"]): str(row.get("public_key") or "")
            for row in rows
            if isinstance(row, dict) and row.get("name")
        }

    def _key_name(self, public: str) -> str:
        """The one SSH key of an order, registered if it has to be."""
        if SSH_KEY in self._keys():
            return SSH_KEY
        try:
            self._http.send("POST", f"{API}/ssh-keys", json={"name": SSH_KEY, "public_key": public})
        except (errors.Duplicate, UnknownOutcome) as error:
            # Somebody else was faster, or the answer was lost; no machine is asked for yet.
            if SSH_KEY not in self._keys():
                raise ProviderError(
                    f"Lambda did not take an SSH key named {SSH_KEY} ({error}): nothing was "
                    "ordered; try again"
                ) from error
        return SSH_KEY


def _tags(name: str) -> list[dict[str, str]]:
    """As the service writes them; it tells nobody when a machine was made, so a tag does."""
    run, attempt = parse_name(name) or ("", 0)
    tags = {"mimir-run": run, "mimir-attempt": str(attempt), "mimir-created": f"{time.time():.0f}"}
    return [{"key": key, "value": value} for key, value in tags.items()]


def _keep(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except OSError as error:
        raise BadInput(f"cannot keep a machine's host key in {path}: {error.strerror}") from None


def _id(id: str) -> str:
    if not id.replace("-", "").isalnum():
        raise BadInput(f"{id!r} is not the id of a machine at Lambda")
    return id
