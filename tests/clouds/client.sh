#!/usr/bin/env bash
# Makes an environment with an independent client of a service, and prints where the client is.
#
#   tests/clouds/client.sh vastai|runpod|lambda|gcp [PYTHON]     default python3
#
# vastai is Vast.ai's own client, runpod RunPod's own MCP server (which speaks REST v2; node and npm
# are needed), lambda is lambda-ai-cloud-api-client, which users write, gcp a Python that has Google's
# own client and google-auth (tests/clouds/gcp_client.py is run by it), and google-api-python-client
# for the discovery documents in it (tests/clouds/discovery.py). AWS's own is boto3. Their
# dependencies are pinned by themselves, so each has an environment of its own in build/: 50 to 300 MB.
set -euo pipefail
cd "$(dirname "$0")/../.."
name=$1 python=${2:-python3}
place=$PWD/build/clients/$name

# $@: what pip installs. Whoever was interrupted begins again, as does one that has other versions.
pip() {
  [ "$(cat "$place/installed" 2> /dev/null)" = "$*" ] && return
  {
    "$python" -m venv --clear "$place"
    "$place/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    echo "$*" > "$place/installed"
  } >&2
}

case $name in
  vastai) pip 'vastai==1.9.1'; echo "$place/bin/vastai" ;;
  lambda) pip 'lambda-ai-cloud-api-client==2.4.1'; echo "$place/bin/lai" ;;
  gcp)
    pip 'google-cloud-compute==1.57.0' 'google-auth[requests]==2.63.0' \
      'google-api-python-client==2.202.0' httpx
    echo "$place/bin/python"
    ;;
  runpod)
    if [ ! -e "$place/installed" ]; then
      mkdir -p "$place"
      npm install --prefix "$place" --no-audit --no-fund --silent '@runpod/mcp-server@4.0.0' >&2
      touch "$place/installed"
    fi
    echo "$place/node_modules/@runpod/mcp-server/dist/stdio.mjs"
    ;;
  *) echo "$0: no client of $name is known" >&2; exit 2 ;;
esac
