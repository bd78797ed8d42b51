#!/usr/bin/env bash
# Sees to it that there is an sshd, which the machines of the fake Lambda run (tests/clouds).
# Without one, the tests that enter such a machine are skipped. Nothing is started here.
set -euo pipefail
PATH=$PATH:/usr/sbin:/usr/local/sbin
command -v sshd >/dev/null && exit 0
if [ "${MIMIR_CI:-}" != 1 ] || [ "$(id -u)" != 0 ]; then
  echo "tests/servers: sshd is missing: apt-get install openssh-server" >&2
  exit 1
fi
# RUNLEVEL: Debian's package starts its service otherwise, where there is an init.
apt-get -qq update
RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends openssh-server >/dev/null
command -v sshd >/dev/null
