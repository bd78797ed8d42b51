#!/usr/bin/env bash
# usage: base.sh OUT.tar [PACKAGE …]
#
# A root file system that stands in for python:3.11-slim-bookworm where no registry can be
# reached: Debian 12 with Python 3.11 and pip, from the machine's own apt sources and with its
# own list of certificate authorities. Never publish an image that is built on it. The real base has
# Python's headers, which an image for NVIDIA GPUs needs: give libpython3.11-dev for that.
set -euo pipefail
out=${1:?a .tar to write}
shift
more=$(printf ',%s' "$@")
mapfile -t uris < <(awk '/^URIs:/{print $2}' /etc/apt/sources.list.d/debian.sources)
sources=()
for suite in bookworm bookworm-updates; do sources+=("deb ${uris[0]} $suite main"); done
[ "${#uris[@]}" -lt 2 ] || sources+=("deb ${uris[1]} bookworm-security main")
mmdebstrap --quiet --variant=apt --mode=root --include=ca-certificates,python3,python3-venv,python3-pip${more%,} \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
  --aptopt='APT::Install-Recommends "false"' \
  --customize-hook='upload /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt' \
  --customize-hook='rm -rf "$1"/var/cache/debconf/*-old "$1"/var/log/* "$1"/usr/lib/python3/dist-packages/pip/__pycache__' \
  bookworm "$out" "${sources[@]}"
