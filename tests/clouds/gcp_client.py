"""Google's own client of Compute Engine and google-auth, run by the client's Python.

    python -m tests.clouds.gcp_client

Reads orders from stdin, JSON lists [URL, VERB, WORDS…], and answers each by a line of JSON.
Credentials are found as google-auth finds them. `mimir` asks by Mimir's own adapter, which takes
its token from google-auth here; all other verbs are Google's client (`client.sh gcp`). One process
for many orders, because the client takes seconds to be imported.
"""

import json
import sys
from typing import Any

PROJECT = "fake-project"


def mimir(url: str) -> Any:
    from launch.contract.offer import Need
    from launch.providers.gcp.adapter import Gcp

    cloud = Gcp(environ={"MIMIR_GCP_PROJECT": PROJECT, "MIMIR_GCP_URL": url})
    return {
        "offers": len(cloud.offers(Need(spot=True))),
        "machines": [each.name for each in cloud.instances()],
        "checks": [each.status for each in cloud.checks()],
    }


def theirs(url: str, verb: str, *words: str) -> Any:
    import google.auth
    from google.cloud import compute_v1
    from google.cloud.compute_v1.services import (
        accelerator_types,
        disks,
        images,
        instances,
        machine_types,
        projects,
        regions,
        zone_operations,
    )

    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/compute"])

    def client(module: Any) -> Any:
        name = "".join(word.title() for word in module.__name__.rpartition(".")[2].split("_"))
        rest = getattr(module.transports, f"{name}RestTransport")
        transport = rest(
            host=url.removeprefix("http://"), url_scheme="http", credentials=credentials
        )
        return getattr(module, f"{name}Client")(transport=transport)

    def rows(module: Any, key: str) -> list[Any]:
        pages = client(module).aggregated_list(project=PROJECT)
        return [row for _, scope in pages for row in getattr(scope, key)]

    if verb == "machines":
        return [
            [each.name, each.status, dict(each.labels)] for each in rows(instances, "instances")
        ]
    if verb == "stock":
        return {
            "types": sorted({each.name for each in rows(machine_types, "machine_types")}),
            "cards": sorted({each.name for each in rows(accelerator_types, "accelerator_types")}),
            "disks": len(rows(disks, "disks")),
            "quotas": {q.metric: q.limit for q in client(projects).get(project=PROJECT).quotas},
            "regions": [each.name for each in client(regions).list(project=PROJECT)],
            "image": client(images).get_from_family(
                project="deeplearning-platform-release", family="any"
            ).disk_size_gb,
        }  # fmt: skip
    zone, name = words[:2]
    where = {"project": PROJECT, "zone": zone}
    if verb == "order":
        body = compute_v1.Instance.from_json(words[2])
        made = client(instances).insert_unary(
            request=compute_v1.InsertInstanceRequest(
                **where, instance_resource=body, request_id=words[3]
            )
        )
        done = client(zone_operations).wait(**where, operation=made.name)
        return [done.status.name, [each.code for each in done.error.errors]]
    if verb == "look":
        found = client(instances).get(**where, instance=name)
        return [found.name, found.status, found.scheduling.provisioning_model]
    if verb == "console":
        return client(instances).get_serial_port_output(**where, instance=name).contents
    if verb == "delete":
        made = client(instances).delete_unary(**where, instance=name)
        return client(zone_operations).wait(**where, operation=made.name).status.name
    if verb == "operations":
        wanted = compute_v1.ListZoneOperationsRequest(**where, filter=name)
        listed = client(zone_operations).list(request=wanted)
        return [[each.operation_type, each.target_link] for each in listed]
    raise SystemExit(f"no verb {verb}")


if __name__ == "__main__":
    for line in sys.stdin:
        url, verb, *words = json.loads(line)
        try:
            found = mimir(url) if verb == "mimir" else theirs(url, verb, *words)
        except Exception as error:  # noqa: BLE001 - told to the test, which fails
            found = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(found), flush=True)
