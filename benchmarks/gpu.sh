#!/usr/bin/env bash
# What is worth measuring on a GPU, in at most 8 minutes: bash benchmarks/gpu.sh [--device cpu --size toy] [--out FOLDER]
#
# Needs Python with torch, diffusers and transformers, and no network; packages of a folder `wheels` beside this script
# are installed first. Parts run in the order of their importance, each writes its own file when it is done, and one
# that fails or takes too long takes no other with it.
set -u
here=$(cd "$(dirname "$0")" && pwd)
device=cuda size=sd15 out=runs/benchmarks/gpu
while [ $# -gt 0 ]; do
    case $1 in
        --device) device=$2 ;;
        --size) size=$2 ;;
        --out) out=$2 ;;
        *) echo "unknown argument $1; there are --device, --size and --out" >&2; exit 2 ;;
    esac
    shift 2
done
mkdir -p "$out"
begun=$SECONDS

part() { # NAME SECONDS COMMAND...: what it prints goes to NAME.txt
    local name=$1 left=$((480 - SECONDS + begun)) limit=$2
    shift 2
    [ "$left" -lt "$limit" ] && limit=$left
    if [ "$limit" -lt 5 ]; then echo "$name: left out, the time is up"; return; fi
    local start=$SECONDS code=0
    timeout "$limit" "$@" > "$out/$name.txt" 2>&1 || code=$?
    echo "$name: exit $code after $((SECONDS - start)) s ($out/$name.txt)"
}

if [ -d "$here/wheels" ]; then
    part install 60 python -m pip install --no-index --no-deps --force-reinstall "$here"/wheels/*.whl
fi
if [ -d "$here/../tests/backbone" ]; then
    part tests 90 python -m pytest -q -m "not slow" -p no:cacheprovider --rootdir "$here/.." \
        "$here/../tests/backbone/test_kernels.py" "$here/../tests/backbone/test_kernel_optimize.py"
fi
gpu() { python "$here/gpu.py" --device "$device" --size "$size" "$@"; }
export -f gpu
export here device size
part extraction 150 bash -c "gpu --only extraction --out '$out/extraction.json'"
part training 60 bash -c "gpu --only training --out '$out/training.json'"
part predict 120 python "$here/predict.py" --device "$device" --size "$size" --out "$out/predict"
part kernels 60 bash -c "gpu --only attention --only blocks --out '$out/kernels.json'"
echo "all after $((SECONDS - begun)) s"
