#!/usr/bin/env bash
# Makes environments for Google's CLI and for the fake machines, and runs the tests that need them.
#
#   tests/colab/run.sh [PYTHON-OF-MIMIR [OPTIONS OF PYTEST]]     default .venv/bin/python
#
# The CLI needs Python 3.12 or newer: $MIMIR_COLAB_PYTHON, or one that is found on PATH or under
# pyenv. Without one the tests are skipped, unless MIMIR_REQUIRE_COLAB=1. About 330 MB in build/.
set -euo pipefail
cd "$(dirname "$0")/../.."
own=${1:-.venv/bin/python}
place=${MIMIR_COLAB_ENVIRONMENTS:-build/colab}
wanted='google-colab-cli>=0.7.4,<0.8'

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; }

python=
for each in "${MIMIR_COLAB_PYTHON:-}" python3.12 python3.13 python3.14 python3 \
  "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[2-9]*/bin/python; do
  if [ -n "$each" ] && command -v "$each" >/dev/null && new_enough "$each"; then
    python=$each
    break
  fi
done
if [ -z "$python" ]; then
  echo "tests/colab: skipped, for Google's CLI needs Python 3.12 and none was found;" \
    "name one by MIMIR_COLAB_PYTHON" >&2
  [ "${MIMIR_REQUIRE_COLAB:-}" != 1 ]
  exit
fi

mkdir -p "$place"
place=$(cd "$place" && pwd)
if [ ! -e "$place/cli/installed" ]; then
  "$python" -m venv --clear "$place/cli"
  "$place/cli/bin/python" -m pip install --quiet --disable-pip-version-check "$wanted"
  touch "$place/cli/installed"
fi
# A fake machine's kernel: Jupyter beside what Mimir's own environment has, above all torch.
if [ ! -e "$place/runtime/installed" ]; then
  "$own" -m venv --clear "$place/runtime"
  "$place/runtime/bin/python" -m pip install --quiet --disable-pip-version-check \
    jupyter_server ipykernel
  site='import sysconfig; print(sysconfig.get_path("purelib"))'
  "$own" -c "$site" >"$("$place/runtime/bin/python" -c "$site")/mimir-training.pth"
  touch "$place/runtime/installed"
fi

export COLAB_CLI_PATH="$place/cli/bin/colab" MIMIR_COLAB_RUNTIME="$place/runtime/bin/python"
export MIMIR_REQUIRE_COLAB=1 OMP_NUM_THREADS=1
"$COLAB_CLI_PATH" version
"$own" -m pytest tests/colab/test_real_cli.py "${@:2}"
