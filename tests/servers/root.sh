#!/usr/bin/env bash
# Makes a Debian root with Ceph's S3 server in the folder $1. A root that is whole already stays.
#
# Debian 13 has Ceph 18.2: the first that honours If-None-Match and If-Match on PutObject. The
# mirrors are those that this machine's apt uses. About 130 MB to fetch, 900 MB on disk.
set -euo pipefail
root=${1:?folder for the root}
suite=trixie

[ -e "$root/.whole" ] && exit 0
[ "$(id -u)" = 0 ] || { echo "tests/servers: needs root, to make a Debian root in $root" >&2; exit 1; }
if ! command -v mmdebstrap >/dev/null; then
  if [ "${MIMIR_CI:-}" = 1 ]; then
    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y mmdebstrap >/dev/null
  else
    echo "tests/servers: mmdebstrap is missing: apt-get install mmdebstrap" >&2
    exit 1
  fi
fi
mirror=$(cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk '/^URIs:/ { print $2; exit }')
[ -n "$mirror" ] || mirror=$(awk '/^deb / { for (i = 2; i <= NF; i++) if ($i ~ /:\/\//) { print $i; exit } }' \
  /etc/apt/sources.list 2>/dev/null || true)
[ -n "$mirror" ] || { echo "tests/servers: no Debian mirror in /etc/apt" >&2; exit 1; }

rm -rf "$root"
mmdebstrap --quiet --mode=root --variant=essential \
  --include=ceph-mon,ceph-mgr,ceph-osd,radosgw,ca-certificates \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  "$suite" "$root" "deb $mirror $suite main" </dev/null
touch "$root/.whole"
