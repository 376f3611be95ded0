#!/bin/sh
# Measures this machine's GPUs: the curve of slots, the links when there are several, and layers under planned
# placements. Writes JSON into a folder. Needs PyTorch; where Node and the built package are, the forecasts too.
#
#   node bench/gpu/cases.mjs -o build/gpu/cases.json --experts 64 ROUTES.npy...   (on any machine)
#   sh bench/gpu/all.sh OUT [CASES.json]
set -eu
out=${1:?usage: all.sh OUT [CASES.json]}
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
cases=${2:-$root/build/gpu/cases.json}
python=${PYTHON:-python3}
mkdir -p "$out"

if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
  echo "bench/gpu: skipped: no PyTorch, or no GPU that it sees"
  exit 0
fi
nvidia-smi > "$out/nvidia-smi.txt" 2>&1 || true
"$python" "$root/plugins/python/eplb_calibrate.py" --hidden 7168 --intermediate 2048 --precision bf16 \
  --slots 20 -o "$out/measured.json"
"$python" "$here/layer_test.py" "$cases" --seconds "${SECONDS_OF_LAYERS:-90}" -o "$out/layers.json"

if command -v node > /dev/null && [ -f "$root/dist/cli.js" ]; then
  node "$root/dist/cli.js" calibrate "$out/measured.json" --name measured -o "$out/cost.json" > "$out/fit.txt"
  node "$here/forecast.mjs" "$out/layers.json" --json "$out/forecast-preset.json" > "$out/forecast-preset.md"
  node "$here/forecast.mjs" "$out/layers.json" --cost "$out/cost.json" --json "$out/forecast.json" \
    > "$out/forecast.md"
  tail -n 8 "$out/forecast.md"
else
  echo "bench/gpu: no Node or no build here: run calibrate and forecast.mjs on $out elsewhere"
fi
