#!/usr/bin/env bash
# The comparison with transformers and PEFT, in an environment of its own: torch's CPU build by pip.
# Arguments go to pytest: tests/parity/run.sh -m slow tests/parity/test_real_weights.py
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${PARITY_VENV:-.venv-parity}
if [ ! -x "$venv/bin/pytest" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet torch==2.13.0
    "$venv/bin/pip" install --quiet -e '.[test,parity]'
fi
[ $# -gt 0 ] || set -- tests/parity
JAX_PLATFORMS=cpu "$venv/bin/pytest" -q "$@"
