#!/usr/bin/env bash
# Makes an environment with Vast.ai's own client, and prints the client's path for $MIMIR_VASTAI.
#
#   tests/clouds/client.sh [PYTHON]     default python3
#
# Its dependencies are pinned, so it has an environment of its own: 200 MB in build/.
set -euo pipefail
cd "$(dirname "$0")/../.."
place=$PWD/build/vastai
if [ ! -e "$place/installed" ]; then
  {
    "${1:-python3}" -m venv --clear "$place"
    "$place/bin/python" -m pip install --quiet --disable-pip-version-check 'vastai==1.9.1'
    touch "$place/installed"
  } >&2
fi
echo "$place/bin/vastai"
