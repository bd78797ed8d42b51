#!/usr/bin/env bash
# Sees to it that there is a Chromium, in which the report is looked at (tests/launch/report).
# Without one, those tests are skipped.
set -euo pipefail
for name in chromium chromium-browser google-chrome; do
  command -v "$name" >/dev/null && exit 0
done
if [ "${MIMIR_CI:-}" != 1 ] || [ "$(id -u)" != 0 ]; then
  echo "tests/servers: Chromium is missing: apt-get install chromium" >&2
  exit 1
fi
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium >/dev/null
command -v chromium >/dev/null
