#!/usr/bin/env bash
# Measure the model on a CUDA card with one command: bash benchmarks/cuda/run.sh OUT
#
# Needs a card, Python 3.11 or later, torch, numpy and onnx, and onnxruntime-gpu: installed, or as a wheel in WHEELS (also
# in parts, see carry.py). With the wheels of specter-batch and its packages in WHEELS, or specter-batch installed,
# `specter-batch classify` is run too. Takes about 8 minutes at most. OUT gets cuda.json and cuda.md.
#   WHEELS=folder    wheels, and parts of wheels        (default: none)
#   PYTHON=python3   the interpreter that has torch
#   SECONDS_FOR_WAYS=240   no way to run the model is begun after so many seconds
#   DEVICE=cuda      cpu tries the scripts without a card, with MEASURE="--graph ... --papers 4" and NIGHT="--papers 40"
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
out="${1:?usage: bash benchmarks/cuda/run.sh OUT}"
python="${PYTHON:-python3}"
mkdir -p "$out/work"
out="$(cd "$out" && pwd)"
if [ -n "${WHEELS:-}" ]; then
    "$python" "$here/carry.py" join "$WHEELS" "$out/work/wheels"
    find "$WHEELS" -maxdepth 1 -name '*.whl' -exec cp {} "$out/work/wheels" ';'
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target "$out/work/site" "$out"/work/wheels/*.whl
    export PYTHONPATH="$out/work/site${PYTHONPATH:+:$PYTHONPATH}"
fi
device="${DEVICE:-cuda}"
# shellcheck disable=SC2086 # both hold several options
"$python" "$here/measure.py" "$out" --device "$device" --seconds "${SECONDS_FOR_WAYS:-240}" ${MEASURE:-}
if "$python" -c 'import specter_jobs.night.run' 2> "$out/work/no_product.txt"; then
    # shellcheck disable=SC2086
    "$python" "$here/end_to_end.py" "$out" --device "$device" ${NIGHT:-}
else
    echo "specter-batch was not run: $(tail -n 1 "$out/work/no_product.txt")"
fi
