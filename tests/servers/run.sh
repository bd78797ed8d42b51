#!/usr/bin/env bash
# Starts Ceph's S3 server, runs the tests that need a server which enforces policies, and ends it.
#
#   tests/servers/run.sh                 those tests
#   tests/servers/run.sh COMMAND …       another command, with MIMIR_TEST_RGW set
#
# Needs Linux, root and apt's mirrors. MIMIR_RGW_ROOT=FOLDER keeps the server's files between
# runs (else they are fetched again, about two minutes).
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
root=${MIMIR_RGW_ROOT:-$work/root}
server=

finish() {
  code=$?
  if [ -n "$server" ]; then
    kill -KILL "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  [ "$code" = 0 ] || tail -n 20 "$work/ceph.log" 2>/dev/null >&2 || true
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

bash tests/servers/root.sh "$root"
s3=$(free_port) monitor=$(free_port)
rm -f "$root/ready"
cp tests/servers/ceph.sh "$root/ceph.sh"
# Of its own: mounts and processes. Not the network, for the tests talk to it on 127.0.0.1.
unshare --mount --pid --fork --kill-child --root="$root" --mount-proc=/proc \
  /bin/bash /ceph.sh "$s3" "$monitor" /ready >"$work/ceph.log" 2>&1 </dev/null &
server=$!
for _ in $(seq 360); do
  [ -e "$root/ready" ] && break
  kill -0 "$server" 2>/dev/null || { echo "tests/servers: Ceph ended while it started" >&2; exit 1; }
  sleep 0.5
done
[ -e "$root/ready" ] || { echo "tests/servers: Ceph did not start within 3 minutes" >&2; exit 1; }
export MIMIR_TEST_RGW="http://127.0.0.1:$s3"
echo "Ceph's S3 server answers at $MIMIR_TEST_RGW"
if [ $# -gt 0 ]; then "$@"; else .venv/bin/python -m pytest tests/runs/test_store.py tests/runs/test_probe.py tests/runs/test_s3_store.py tests/servers -k "rgw or keys"; fi
