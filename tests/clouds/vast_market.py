"""What the fake of Vast.ai has on offer, how it reads a search, and what orders it takes."""

import itertools
import shlex
from collections.abc import Mapping
from typing import Any

RUNTYPES = ("ssh", "jupyter", "args", "ssh_proxy", "ssh_direct", "jupyter_proxy", "jupyter_direct")


def ask(id: int, gpu: str, ram: int, base: float, least: float, **others: Any) -> dict[str, Any]:
    """An offer of one GPU. ram in MiB, base and least (bid) in $/h."""
    return {
        "id": id, "ask_contract_id": id, "machine_id": id + 50000, "host_id": 7, "gpu_name": gpu,
        "num_gpus": 1, "gpu_ram": ram, "gpu_arch": "nvidia", "cpu_arch": "amd64",
        "dph_base": base, "min_bid": least, "is_bid": False, "external": False,
        "storage_cost": 0.15, "inet_up_cost": 0.002, "inet_down_cost": 0.002,
        "inet_up": 800.0, "inet_down": 900.0,
        "reliability": 0.995, "reliability2": 0.995, "verification": "verified",
        "rentable": True, "rented": False, "duration": 30 * 86400.0, "cuda_max_good": 13.0,
        "disk_space": 500.0, "direct_port_count": 10, "driver_version": "580.65.06",
        "geolocation": "Sweden, SE", "public_ipaddr": "192.0.2.45", "compute_cap": 890,
        "cpu_cores": 32, "cpu_cores_effective": 16.0, "cpu_ram": 128_000, "cpu_name": "EPYC",
        "gpu_frac": 0.5, "gpu_total_ram": ram, "gpu_max_power": 450.0, "score": 200.0,
        "dlperf": 90.0, "static_ip": False, "hosting_type": 0, "bundle_id": id, **others,
    }  # fmt: skip


def stock() -> list[dict[str, Any]]:
    return [
        ask(101, "RTX 4090", 24564, 0.40, 0.16),
        ask(102, "RTX 4090", 24564, 0.42, 0.17),
        ask(103, "RTX 3090", 24576, 0.22, 0.10),
        ask(104, "Tesla T4", 15360, 0.15, 0.08),
        ask(105, "A100 SXM4", 81920, 0.95, 0.50),
        ask(106, "H100 SXM", 81559, 1.90, 1.20),
        ask(107, "RTX 4090", 24564, 0.41, 0.15, machine_id=50101),
        ask(108, "RTX 4090", 24564, 0.44, 0.18),
    ]


def wrong(order: Any) -> str:
    """What is wrong with the body of a create, "" if nothing is."""
    if not isinstance(order, dict) or not order.get("image"):
        return "'image' is required"
    price = order.get("price")
    texts = [order.get("onstart") or "", *order.get("args", ())]
    env = variables(order.get("env"))
    for fault, sentence in (
        (order.get("runtype", "ssh") not in RUNTYPES, "unknown runtype"),
        (price is not None and not 0.001 <= price <= 128, "invalid_price"),
        (len(order.get("label") or "") > 256, "label_too_long"),
        (len(texts[0]) > 4048 or sum(map(len, texts)) > 4096, "onstart or args too long"),
        (sum(len(name) + len(text) for name, text in env.items()) > 32768, "env too long"),
        (any(len(f"{name}={text}") > 256 for name, text in env.items()), "env: max_length is 256"),
        (not order.get("disk", 8) >= 8, "disk too small"),
    ):
        if fault:
            return sentence
    return ""


def variables(env: Any) -> dict[str, str]:
    """Of the object that clients send, or of the docker flags that the document has; no ports."""
    if isinstance(env, str):
        words = shlex.split(env)
        pairs = [value for flag, value in itertools.pairwise(words) if flag == "-e"]
        return dict(pair.split("=", 1) for pair in pairs)
    return {name: str(text) for name, text in (env or {}).items() if not name.startswith("-")}


def selected(row: Mapping[str, Any], filters: Mapping[str, Any]) -> bool:
    """Whether it passes the filters, which are objects; what else is there, filters nothing."""
    row = {
        **row, "verified": row.get("verification") == "verified",
        "datacenter": row.get("hosting_type") == 1,
    }  # fmt: skip
    # As in SQL: what a row does not have, is neither more nor less than anything.
    rules = {
        "eq": lambda a, b: a == b, "neq": lambda a, b: a != b, "gt": lambda a, b: a > b,
        "gte": lambda a, b: a >= b, "lt": lambda a, b: a < b, "lte": lambda a, b: a <= b,
        "in": lambda a, b: a in b, "notin": lambda a, b: a not in b,
    }  # fmt: skip
    return all(
        _passes(rules[operator], row.get(name), _typed(value, row.get(name)), operator)
        for name, rule in filters.items()
        if isinstance(rule, dict)
        for operator, value in rule.items()
    )


def _passes(rule: Any, shown: Any, wanted: Any, operator: str) -> bool:
    if shown is None and operator not in ("eq", "neq", "in", "notin"):
        return False
    return bool(rule(shown, wanted))


def ports(env: Any, address: str) -> dict[str, list[dict[str, str]]] | None:
    """Where a running instance's published ports are; None if it publishes none."""
    if isinstance(env, str):
        wanted = [value for flag, value in itertools.pairwise(shlex.split(env)) if flag == "-p"]
    else:
        wanted = [name.split()[1] for name in env or {} if name.startswith("-p ")]
    inside = [each.rpartition(":")[2] for each in wanted]
    return {
        each if "/" in each else f"{each}/tcp": [
            {"HostIp": "0.0.0.0", "HostPort": str(33000 + number)}
        ]
        for number, each in enumerate(inside)
    } or None  # fmt: skip


def _typed(value: Any, like: Any) -> Any:
    """The vendor's client sends numbers as texts, and is understood."""
    return float(value) if isinstance(value, str) and isinstance(like, int | float) else value
