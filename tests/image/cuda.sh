#!/usr/bin/env bash
# usage: cuda.sh ENGINE IMAGE
#
# What of the image for NVIDIA GPUs can be tried without one, as a user whom it does not know, with
# a read-only root and without network: torch's GPUs, a smoke training to its end, a captured step
# of small and all of our own kernels compiled for each kind of GPU; and its size, as it is and as a registry would hold it.
set -euo pipefail
engine=${1:?docker or podman}
image=${2:?an image}
say() { echo "--- $1 ($SECONDS s)"; }
confined() {
  "$engine" run --rm --network none --user 12345:12345 --read-only --tmpfs /tmp:exec,size=4g \
    --cap-drop ALL --security-opt no-new-privileges --env OMP_NUM_THREADS=1 "$@"
}

say "what it compiles for"
confined "$image" python -m bench.image_check
say "a smoke training"
confined --env MIMIR_STORE=file:///tmp/runs "$image" train --preset smoke --run-name smoke | tail -3
say "a step of small, and our own kernels"
confined "$image" python -W ignore -m bench.ledger --presets small --capabilities 75,80,89,90,100,120 --quiet
confined "$image" python -W ignore -m bench.ledger --presets small,large --capabilities 75,80,89,90,100,120 --quiet --kernels all
say "its size"
"$engine" image inspect --format '{{.Size}} bytes' "$image"
echo "$("$engine" save "$image" | gzip -6 | wc -c) bytes compressed (gzip -6)"
"$engine" history --format '{{.Size}}\t{{.CreatedBy}}' --no-trunc "$image" | cut -c1-120 | grep -v '^0B'
