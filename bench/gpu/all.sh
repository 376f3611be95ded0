#!/bin/sh
# Measures this machine's GPUs: the curve of slots, the links when there are several, and layers under planned
# placements. Writes JSON into a folder. Needs PyTorch; where Node and the built package are, the forecasts too.
#
#   node bench/gpu/cases.mjs -o build/gpu/cases.json --experts 64 ROUTES.npy...   (on any machine)
#   sh bench/gpu/all.sh OUT [CASES.json]
#
# A part that fails is named at the end, and the others' files stay. Every part has a time of its own: at most
# 390 s in all.
set -u
out=${1:?usage: all.sh OUT [CASES.json]}
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
cases=${2:-$root/build/gpu/cases.json}
python=${PYTHON:-python3}
failed=
# NVLink multicast is for reductions: neither dispatch nor combine uses it, and not every host has it set up.
export NCCL_NVLS_ENABLE="${NCCL_NVLS_ENABLE:-0}"
mkdir -p "$out" || exit

say() {
  echo "bench/gpu: $*" >&2
}

# part NAME SECONDS COMMAND...: all that it prints is progress.
part() {
  name=$1
  limit=$2
  shift 2
  say "$name, at most $limit s"
  if command -v timeout > /dev/null; then
    timeout -k 5 "$limit" "$@" >&2
  else
    "$@" >&2
  fi
  status=$?
  [ "$status" -eq 0 ] && return
  say "$name: failed with $status"
  failed="$failed $name"
}

if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2> /dev/null; then
  echo "bench/gpu: skipped: no PyTorch, or no GPU that it sees"
  exit 0
fi
nvidia-smi > "$out/nvidia-smi.txt" 2>&1 || true
part slots 100 "$python" "$root/plugins/python/eplb_calibrate.py" --hidden 7168 --intermediate 2048 \
  --precision bf16 --slots 20 -o "$out/measured.json"
part layers 270 "$python" "$here/layer_test.py" "$cases" --seconds "${SECONDS_OF_LAYERS:-80}" \
  -o "$out/layers.json"

# forecast NAME [--cost C]: NAME.md and NAME.json of what was measured.
forecast() {
  name=$1
  shift
  if ! node "$here/forecast.mjs" "$out/layers.json" "$@" --json "$out/$name.json" > "$out/$name.md"; then
    failed="$failed $name"
  fi
}

if command -v node > /dev/null && [ -f "$root/dist/cli.js" ]; then
  [ -f "$out/layers.json" ] && forecast forecast-preset
  if [ -f "$out/measured.json" ]; then
    if node "$root/dist/cli.js" calibrate "$out/measured.json" --name measured -o "$out/cost.json" \
      > "$out/fit.txt"; then
      [ -f "$out/layers.json" ] && forecast forecast --cost "$out/cost.json" && tail -n 8 "$out/forecast.md"
    else
      failed="$failed fit"
    fi
  fi
else
  say "no Node or no build here: run calibrate and forecast.mjs on $out elsewhere"
fi
[ -z "$failed" ] && exit 0
say "failed:$failed"
exit 1
