#!/usr/bin/env bash
# Sees to it that there is Slurm (slurmctld, slurmd, munge), which tests/slurm starts on this
# computer by itself, and Charliecloud, by which its jobs train in an image. Without these, the tests
# are skipped. Nothing is started here.
set -euo pipefail
PATH=$PATH:/usr/sbin
command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null &&
  command -v ch-run >/dev/null && command -v mksquashfs >/dev/null && exit 0
if [ "${MIMIR_CI:-}" != 1 ] || [ "$(id -u)" != 0 ]; then
  echo "tests/slurm: Slurm is missing: apt-get install slurmctld slurmd slurm-client munge" \
    "charliecloud-runtime squashfs-tools" >&2
  exit 1
fi
apt-get -qq update
# RUNLEVEL: Debian's packages start their services otherwise, where there is an init.
RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
  slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge \
  charliecloud-runtime squashfs-tools >/dev/null
command -v slurmctld >/dev/null
