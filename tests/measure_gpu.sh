#!/usr/bin/env bash
# shellcheck disable=SC2317  # the steps are called by their names
# Everything that needs a GPU, in one run: tests, benchmarks, calibration. Each step leaves its log and its figures in
# FOLDER, a step that fails does not stop the others, and the exit code says how many failed.
#
#   tests/measure_gpu.sh FOLDER            all steps
#   tests/measure_gpu.sh FOLDER tests standard light large calibration    those that are named
#
# PYTHON names the interpreter of an environment in which the project is installed, else .venv's or python3.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

[ $# -ge 1 ] || { sed -n '3,9p' "$0" | sed 's/^# \{0,1\}//'; exit 64; }
out=$1
shift
[ $# -gt 0 ] || set -- tests standard light large calibration
python=${PYTHON:-python3}
[ -n "${PYTHON:-}" ] || [ ! -x .venv/bin/python ] || python=.venv/bin/python
mkdir -p "$out"
export PYTHONUNBUFFERED=1

bench() { # NAME OPTION...
    local name=$1
    shift
    "$python" -m inspector bench --device cuda "$@" --json "$out/$name.json" --plot "$out/$name.svg"
}

step_tests() { "$python" -m pytest -m gpu -q -rs --override-ini addopts= --import-mode importlib; }
step_standard() { bench standard --pair standard --detectors padim,patchcore --seconds 20; }
step_light() { bench light --pair light --seconds 20; }
step_large() { bench large --pair standard --frame 2048 --rounds 2 --seconds 20; }

# 200 epochs on 300 images of 256 px with the pair of the papers; random weights take as long as trained ones.
step_calibration() {
    local work
    work=$(mktemp -d)
    cat >"$work/station.yaml" <<END
station: gpu-calibration
recipe: recipe
camera: {kind: synthetic, defect_ratio: 0, rate: 200}
END
    "$python" -m inspector collect "$work/parts" --count 300 --least-difference 0 -c "$work/station.yaml" &&
        time "$python" -m calibration train "$work/parts" --recipe "$work/recipe" --weights random:1 \
            --source-network resnet34 --target-network resnet50 --schedule published --size 256 --folds 0 \
            --calibration-share 0.05 --residual-limit 1000 --device cuda --precision float16
    local ended=$?
    rm -rf "$work"
    return "$ended"
}

failed=0
for step in "$@"; do
    declare -F "step_$step" >/dev/null || { echo "unknown step $step" >&2; exit 64; }
done
"$python" -c 'import sys, torch; sys.exit(0 if torch.cuda.is_available() else "PyTorch finds no CUDA device here")' || exit 69
nvidia-smi --query-gpu=name,driver_version,clocks.max.sm --format=csv,noheader 2>&1 | tee "$out/gpu.txt"
for step in "$@"; do
    echo "== $step"
    "step_$step" 2>&1 | tee "$out/$step.log"
    code=${PIPESTATUS[0]}
    [ "$code" -eq 0 ] || { echo "== $step failed with exit code $code"; failed=$((failed + 1)); }
done
echo "== $failed of $# steps failed; logs and figures are in $out"
exit "$failed"
