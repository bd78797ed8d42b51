#!/usr/bin/env bash
# Runs a command beside busy processes, to show that no test depends on how fast the machine is.
#
#   tests/loaded.sh PROCESSES COMMAND …
set -euo pipefail
count=$1
shift
busy=()
trap 'kill "${busy[@]}" 2>/dev/null' EXIT
for ((n = 0; n < count; n++)); do
  while :; do :; done &
  busy+=($!)
done
"$@"
