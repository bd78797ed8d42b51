#!/usr/bin/env bash
# Sees to it that there is bindfs, which mounts a folder twice (tests/runs/test_shared_folder.py).
# Without it, the tests of a folder that two computers share are skipped.
set -euo pipefail
command -v bindfs >/dev/null && exit 0
if [ "${MIMIR_CI:-}" != 1 ] || [ "$(id -u)" != 0 ]; then
  echo "tests/servers: bindfs is missing: apt-get install bindfs" >&2
  exit 1
fi
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends bindfs >/dev/null
command -v bindfs >/dev/null
