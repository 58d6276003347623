#!/usr/bin/env bash
# Runs everything of this project that needs a GPU, in at most 8 minutes, and writes each outcome at once.
#
#   tools/gpu_check.sh OUT [--cells EXPORT] [--device cuda:1] [--toy]
#
# OUT      a folder for what is measured: outcome.txt, one .md and .json a table, a .log for each part, and cells/,
#          which `fusion-bench cells import OUT` takes.
# EXPORT   the cells to train, made beforehand on a machine with everything installed; nothing in it is changed:
#            fusion-bench plan studies/quickstart.yaml --runs gpu_runs --set controls=false --set seeds=1 --export EXPORT
# --toy    tiny sizes on the CPU, in under a minute: tries the parts, measures nothing.
#
# The machine needs Python, torch and timm; the training parts also need pandas, and the cells pyarrow and safetensors.
# Nothing of this project is installed. PYTHON names another interpreter than python3.
# Exit code: 0 if every part ran and every goal is reached, 1 if not, 2 for a mistake in the call.
set -u

usage() {
    sed -n '4p' "$0" >&2
    exit 2
}

out='' cells='' device=cuda toy=()
while [ $# -gt 0 ]; do
    case $1 in
        --cells) [ $# -ge 2 ] || usage; cells=$2; shift ;;
        --device) [ $# -ge 2 ] || usage; device=$2; shift ;;
        --toy) toy=(--toy) ;;
        -*) usage ;;
        *) [ -z "$out" ] || usage; out=$1 ;;
    esac
    shift
done
[ -n "$out" ] || usage
if [ -n "$cells" ] && [ ! -d "$cells/cells" ]; then
    echo "$cells holds no exported cells; make them with: fusion-bench plan STUDY --export $cells" >&2
    exit 2
fi
[ -z "$cells" ] || cells=$(cd "$cells" && pwd) || exit 2
mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd) || exit 2
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit 2
python=${PYTHON:-python3}
export PYTHONPATH="$root:$root/modules${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 OMP_WAIT_POLICY=PASSIVE
if [ ${#toy[@]} -gt 0 ]; then
    device=cpu
    export OMP_NUM_THREADS=1
fi
outcome=$out/outcome.txt
: >"$outcome"
failed=0

say() { echo "$*" | tee -a "$outcome"; }

# lacking PACKAGE...: print those that cannot be imported.
lacking() {
    "$python" - "$@" <<'END'
import importlib.util
import sys

for name in sys.argv[1:]:
    try:
        found = importlib.util.find_spec(name)
    except ImportError:
        found = None
    if found is None:
        print(name)
END
}

# part NAME SECONDS PACKAGES COMMAND...: run a command within its time, and write how it ended.
part() {
    local name=$1 limit=$2 packages=$3 lacks began code reason
    shift 3
    # shellcheck disable=SC2086  # a list of words
    lacks=$(lacking $packages | paste -sd ' ')
    if [ -n "$lacks" ]; then
        say "$name: not run; this Python lacks $lacks (pip install $lacks)"
        failed=1
        return
    fi
    began=$SECONDS
    timeout --kill-after=5 "$limit" "$@" >"$out/$name.log" 2>&1
    code=$?
    case $code in
        0) say "$name: done in $((SECONDS - began)) s" ;;
        124 | 137)
            say "$name: cut off after $limit s; what it has measured is kept"
            failed=1
            ;;
        *)
            reason=$(grep -E 'MISSED|DIFFERS' "$out/$name.log" | paste -sd ';')
            say "$name: failed with exit code $code after $((SECONDS - began)) s: ${reason:-$(tail -n 1 "$out/$name.log")}"
            failed=1
            ;;
    esac
}

# The seconds add up to 450, and leave half a minute of 8 minutes for ends and starts.
if [ ${#toy[@]} -gt 0 ] && [ -z "$(lacking triton)" ]; then
    export TRITON_INTERPRET=1 # the kernels of a GPU, step by step
fi
part agreement 55 torch "$python" -m fusion_modules.laconv.bench.agreement --device "$device"
if [ -z "$(lacking pytest pandas)" ]; then
    tests=(tests/fusion_modules/laconv/ops tests/fusion_bench/training tests/fusion_bench/bench/test_activity.py)
    chosen='triton or fused or gpu'
    if [ ${#toy[@]} -gt 0 ]; then
        tests=(tests/fusion_bench/bench/test_activity.py)
    fi
    part tests 70 torch "$python" -m pytest -q -p no:cacheprovider -o addopts= -o filterwarnings=default \
        --import-mode=importlib -m 'not slow' -k "$chosen" "${tests[@]}"
else
    say "tests: left out, because they need pytest and pandas; the part agreement checks the same kernels"
fi

part operator 80 torch "$python" -m fusion_modules.laconv.bench.gpu "$out" --device "$device" "${toy[@]}"
part step 110 'torch timm pandas' "$python" -m fusion_bench.bench.gpu.training step "$out" --device "$device" "${toy[@]}"
part peers 55 'torch timm pandas' "$python" -m fusion_bench.bench.gpu.training peers "$out" --device "$device" "${toy[@]}"
if [ -n "$cells" ]; then
    mkdir -p "$out/cells" && cp -R "$cells/cells/." "$out/cells/"
    part training 80 'torch timm pandas pyarrow safetensors' \
        "$python" -m fusion_bench.bench.gpu.exported_cells "$out" "$out" --device "$device"
    rm -rf "${out:?}/cache" # it can be made again
else
    say "training: not run; name the exported cells with --cells"
    failed=1
fi
if [ "$failed" = 0 ]; then say "everything ran"; else say "not everything ran, or a goal is missed"; fi
exit "$failed"
