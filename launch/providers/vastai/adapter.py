"""Vast.ai: containers on the machines of many hosts, on demand or by bids.

The facts that shaped this adapter, of its documents as of August 2026; not tested on the real
service:
- a list is asked for at /api/v1/, pages of 25; /api/v0/ answers it with an error or with nothing;
- an order without `price` is one on demand, whatever was searched for;
- a refused order may still name an instance (new_contract);
- an outbid instance is stopped, keeps its disk, bills for it, and comes back by itself;
- `args` machines keep the image's entry point unless `onstart` names another.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from launch.contract import regions
from launch.contract.cloud import PREFIX, ContainerSpec, Instance, State
from launch.contract.errors import ProviderError, UnknownOutcome
from launch.contract.offer import Need, Offer
from launch.contract.provider import Caps, Check
from launch.contract.pull import SYSTEM
from launch.providers.adapter import Adapter
from launch.providers.http import Absent
from launch.providers.vastai import errors, market
from mimir.errors import BadInput, MimirError

SPACING = {
    "create": 4.5, "get": 2.0, "list": 1.0, "destroy": 3.0, "logs": 1.0, "search": 6.0,
    "account": 1.0,
}  # fmt: skip
"""Least seconds between two requests of a kind, from the service's documents (search: 10/min)."""
PAGE = 25
PAGES = 400
"""After which a list that has no end is an error."""
COMMAND_LIMIT = 4048
"""Characters of onstart and args together: 4096, onstart alone 4048; the lesser for both."""
ENV_LIMIT = 32768
LOG_WITHIN = 15.0
"""Seconds for a log to appear where the service puts it; about nine are usual."""
LOG_LIMIT = 4_000_000
DAY = 86400
CHARGES = 500
"""Of one page: the most that the service gives."""
LOW = 5.0
"""Dollars of credit below which `doctor` warns."""


class Vast(Adapter):
    """A Cloud."""

    name = "vastai"
    catalogue_name = ""  # its offers can be searched without a key
    caps = Caps(
        paid=True, image=True, spot=True, ends_itself=True, rates_hosts=True,
        service_ends="an empty balance",
        hosts={
            "": "hosts that Vast.ai has verified, private ones too",
            "any": "any host, also ones that nobody has verified",
            "datacenter": "data centres that Vast.ai has verified",
        },
    )  # fmt: skip
    title = "Vast.ai"
    url = "https://console.vast.ai"
    url_variable = "MIMIR_VAST_URL"
    key_variable = "VAST_API_KEY"
    key_advice = (
        f"make one at cloud.vast.ai/manage-keys with the rights {', '.join(errors.RIGHTS)}, and "
        "put it into $VAST_API_KEY"
    )
    spacing = SPACING
    explain = staticmethod(errors.explain)

    def offers(self, need: Need) -> list[Offer]:
        answer = self._ask("POST", "/api/v0/bundles/", pace="search", json=market.search(need))
        return list(market.offers(self.name, answer, need))

    def regions(self) -> list[str]:
        """Its hosts are anywhere."""
        return sorted(regions.COUNTRIES)

    def create(self, offer: Offer, boot: ContainerSpec, name: str) -> str:
        ask = _id(offer.key.get("ask"), "the offer")
        order = _order(offer, boot, name)
        answer = self._http.send("PUT", f"/api/v0/asks/{ask}/", json=order, pace="create")
        _successful(answer)
        made = errors.number(answer.get("new_contract"))
        if made is None:
            raise UnknownOutcome(f"Vast.ai accepted the order of {name} without naming an instance")
        return str(made)

    def get(self, id: str) -> Instance | None:
        try:
            answer = self._ask("GET", f"/api/v0/instances/{_id(id, 'the machine')}/", pace="get")
        except Absent:
            return None
        if "instances" not in answer:
            raise ProviderError(f"Vast.ai did not say whether instance {id} is there: ask again")
        return None if answer["instances"] is None else _instance(answer["instances"])

    def instances(self) -> list[Instance]:
        """All pages; an error if there are fewer instances than the service says there are."""
        found: dict[str, Instance] = {}
        seen, token = set(), None
        for _ in range(PAGES):
            params = {"limit": PAGE, "order_by": '[{"col":"id","dir":"asc"}]'}
            if token is not None:
                params["after_token"] = token
            answer = self._ask("GET", "/api/v1/instances/", pace="list", params=params)
            rows = answer.get("instances")
            if not isinstance(rows, list):
                raise ProviderError("Vast.ai answered a list without instances in it: ask again")
            found |= {each.id: each for each in map(_instance, rows)}
            token = answer.get("next_token")
            if not token:
                total = errors.number(answer.get("total_instances")) or 0
                if len(found) < total:
                    raise ProviderError(
                        f"Vast.ai listed {len(found)} of {total} instances: ask again"
                    )
                return [each for each in found.values() if each.name.startswith(PREFIX)]
            if token in seen:
                break
            seen.add(token)
        raise ProviderError("Vast.ai's list of instances has no end: ask again")

    def terminate(self, id: str) -> None:
        path = f"/api/v0/instances/{_id(id, 'the machine')}/"
        try:
            _successful(self._http.send("DELETE", path, pace="destroy"))
        except Absent:
            return

    def logs(self, id: str, lines: int) -> list[str]:
        """What the container printed, or else what the host's daemon says of its start."""
        path = f"/api/v0/instances/request_logs/{_id(id, 'the machine')}/"
        for more, mark in (({}, ""), ({"daemon_logs": "true"}, SYSTEM)):
            try:
                answer = self._ask("PUT", path, json={"tail": str(lines), **more}, pace="logs")
            except Absent:
                return []
            url = answer.get("result_url")
            text = self._fetch(url) if isinstance(url, str) and lines > 0 else ""
            if text.strip():
                return [mark + line for line in text.splitlines()[-lines:]]
        return []

    def ending(self) -> Mapping[str, Any] | None:
        return {
            "method": "DELETE",
            "url": f"{self._base}/api/v0/instances/{{CONTAINER_ID}}/",
            "token": "CONTAINER_API_KEY",
            "body": None,
        }

    def billed(self, ids: Sequence[str], since: float, until: float) -> Mapping[str, float] | None:
        """Charges by contract, all pages. The day of each end counts whole, so as not to cut it."""
        day = {"gte": int(since // DAY * DAY), "lte": int((until // DAY + 1) * DAY)}
        filters = json.dumps({"day": day, "type": {"in": ["instance"]}})
        params: dict[str, Any] = {"select_filters": filters, "limit": CHARGES}
        found: dict[str, float] = {}
        for _ in range(PAGES):
            answer = self._ask("GET", "/api/v0/charges/", pace="account", params=params)
            rows = answer.get("results")
            if not isinstance(rows, list):
                raise ProviderError(
                    "Vast.ai answered its charges without a list of them: ask again"
                )
            for row in filter(lambda each: isinstance(each, dict), rows):
                id = str(row.get("source") or "").removeprefix("instance-")
                if id in ids:
                    found[id] = found.get(id, 0.0) + (errors.real(row.get("amount")) or 0.0)
            token = answer.get("next_token")
            if not token or token == params.get("after_token"):
                return found
            params["after_token"] = token
        raise ProviderError("Vast.ai's list of charges has no end: ask again")

    def checks(self) -> list[Check]:
        """Key, credit, rights as far as the service tells them, and whether a list works."""
        try:
            user = self._ask("GET", "/api/v0/users/current/", pace="account")
        except MimirError as error:
            return [Check("key", "fail", str(error))]
        return [
            Check("key", "ok", f"of account {user.get('id', '?')}"),
            _credit(user), self._rights(user), self._listed(),
        ]  # fmt: skip

    def _rights(self, user: Mapping[str, Any]) -> Check:
        unknown = Check(
            "rights", "warn",
            "Vast.ai does not tell what this key may do; to create and end machines it needs "
            + ", ".join(errors.RIGHTS),
        )  # fmt: skip
        try:
            answer = self._ask("GET", "/api/v0/auth/apikeys/", pace="account")
        except MimirError:
            return unknown
        for each in answer.get("apikeys") or ():
            allowed = each.get("permissions") if isinstance(each, dict) else None
            if allowed and each.get("id") == user.get("key_id"):
                granted = allowed.get("api") if isinstance(allowed, dict) else None
                if not isinstance(granted, dict):
                    return unknown
                missing = [right for right in errors.RIGHTS if right not in granted]
                if missing:
                    return Check("rights", "fail", f"the key lacks {', '.join(missing)}")
                return Check("rights", "ok", "the key may create and end machines")
        return unknown

    def _listed(self) -> Check:
        try:
            count = len(self.instances())
        except MimirError as error:
            return Check("machines", "fail", str(error))
        return Check("machines", "ok", f"{count} with a name of ours")

    def key(self) -> str:
        """Of its variable, else where the vendor's own tool keeps it; "" for none."""
        home = self._environ.get("HOME")
        if super().key() or not home:
            return super().key()
        try:
            return Path(home, ".config/vastai/vast_api_key").read_text().strip()
        except OSError:
            return ""

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The JSON object of a read. A success that is none, is an error."""
        answer = self._http.read(method, path, **options)
        if not isinstance(answer, dict):
            raise ProviderError(f"Vast.ai answered {path} with no JSON object: try again later")
        _successful(answer)
        return answer

    def _fetch(self, url: str) -> str:
        """What lies at a log's address, which is not the service's: the key is not sent there."""
        try:
            link = httpx.URL(url)
        except httpx.InvalidURL:
            return ""
        near = link.host == httpx.URL(self._base).host
        if link.scheme != "https" and not near:
            return ""
        end = self._clock() + LOG_WITHIN
        while True:
            try:
                with httpx.Client(
                    transport=self._transport, timeout=5.0, trust_env=not near
                ) as client:
                    response = client.get(link)
                if response.status_code == 200:
                    return response.content[-LOG_LIMIT:].decode(errors="replace")
            except httpx.HTTPError:
                pass  # as a file that is not there yet: asked for again until the time is over
            if self._clock() >= end:
                return ""
            self._sleep(1.0)


def _order(offer: Offer, boot: ContainerSpec, name: str) -> dict[str, Any]:
    """The body of a create: /bin/sh in place of the image's entry point, the command for it."""
    shell, args = "/bin/sh", ["-c", "exec " + shlex.join(boot.command)]
    length = len(shell) + sum(len(each) for each in args)
    if length > COMMAND_LIMIT:
        raise BadInput(
            f"the command for {name} is {length} characters long, but Vast.ai takes "
            f"{COMMAND_LIMIT}: shorten the store's address or the run's name"
        )
    size = sum(len(key.encode()) + len(text.encode()) + 2 for key, text in boot.env.items())
    if size > ENV_LIMIT:
        raise BadInput(
            f"the variables for {name} are {size} bytes, but Vast.ai takes {ENV_LIMIT}: give the "
            "run fewer or shorter ones"
        )
    wrong = [key for key in boot.env if not key.isidentifier()]
    if wrong:
        raise BadInput(f"{wrong[0]!r} is no name of a variable (letters, digits, underscores)")
    order: dict[str, Any] = {
        "client_id": "me",
        "image": boot.image,
        "disk": max(boot.disk_gb, market.LEAST_DISK_GB),
        "label": name,
        "env": dict(boot.env),
        "runtype": "args",
        "onstart": shell,
        "args": args,
        "target_state": "running",
        "cancel_unavail": True,
    }
    if boot.login is not None:  # as the arguments of `docker login`
        order["image_login"] = (
            f"-u {boot.login.user} -p {boot.login.password} {boot.login.registry}"
        )
    if offer.spot:
        price = errors.real(offer.key.get("bid"))
        if price is None or not market.CENT <= price <= 128:
            raise BadInput(f"the spot offer {offer.id} has no bid: ask for offers again")
        order["price"] = price
    return order


def _instance(row: Any) -> Instance:
    id = errors.number(row.get("id")) if isinstance(row, dict) else None
    if id is None:
        raise ProviderError("Vast.ai showed an instance without an id: ask again")
    state = errors.state(row)
    # A stopped one bills its disk; what it would cost when it works is no price of now.
    price = row.get("storage_total_cost" if state is State.SUSPENDED else "dph_total")
    machine = errors.number(row.get("machine_id"))
    return Instance(
        str(id), str(row.get("label") or ""), state, said=errors.said(row),
        price=errors.real(price), address=str(row.get("public_ipaddr") or "").strip(),
        place=str(machine) if machine else "",
    )  # fmt: skip


def _successful(answer: Any) -> None:
    """Raise unless it is a JSON object that does not deny its success."""
    if not isinstance(answer, dict):
        raise UnknownOutcome("Vast.ai answered with something else than a JSON object")
    if answer.get("success", True) is not True:
        raise errors.refusal(200, answer)


def _credit(user: Mapping[str, Any]) -> Check:
    credit = errors.real(user.get("credit"))
    dollars = credit if credit is not None else errors.real(user.get("balance"))
    if dollars is None:
        return Check("credit", "warn", "Vast.ai does not tell it")
    if dollars <= 0:
        return Check("credit", "fail", "none is left: add some at cloud.vast.ai/billing")
    return Check("credit", "ok" if dollars >= LOW else "warn", f"${dollars:.2f}")


def _id(value: object, what: str) -> int:
    found = errors.number(value)
    if found is None:
        raise BadInput(f"{what} has the id {value!r}, which is none of Vast.ai's: a number")
    return found
