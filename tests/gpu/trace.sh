#!/bin/bash
# mpu-run --trace on a machine with an NVIDIA GPU: nvidia-smi and a CUDA program. Every call has a name,
# except legacy ones; the counts are those of a library that is loaded into the program and counts its
# calls itself; what the trace costs is printed. Needs the static programs, bash, python3 and nvcc with
# its C compiler. Takes a minute.
#
#   tests/gpu/trace.sh [BUILD-DIRECTORY]     build-static, where none is named
#
# Exit status 0 only when no check failed.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/checks.sh"
build=$(cd "${1:-$here/../../build-static}" && pwd) || exit 1
work=$(mktemp -d /tmp/mpu-trace.XXXXXX)
trap 'rm -rf "$work"' EXIT
# Where the devices are: set only to try this script with the simulated driver.
root=${MPU_DEV_ROOT:+--dev-root=$MPU_DEV_ROOT}
limit='timeout -k 5 60'
options= # of the runs that are compared
failures_say=status

main() {
	facts
	prepare || exit 1
	traced smi $smi
	traced cuda $cuda
	title 'Lines of the trace of nvidia-smi'
	$limit "$work/mpu-run" $root --trace="$work/text" -- $smi >/dev/null
	sed -n '1,3p;12,16p' "$work/text" | cut -c1-300
	check 'a text trace of nvidia-smi has lines' test -s "$work/text"
	title 'What a trace costs'
	check 'nvidia-smi runs in each way' cost 'nvidia-smi' $smi
	check 'the CUDA program runs in each way' cost 'CUDA program' $cuda

	title 'Result'
	verdict
}

facts() {
	title 'The machine'
	uname -srm
	head -n 1 "${MPU_DEV_ROOT:-/proc/driver/nvidia}/version"
	[ -n "$root" ] || nvidia-smi -L
}

prepare() {
	take mpu-run || return
	"$work/mpu-run" --version
	"${CC:-gcc}" -O2 -shared -fPIC -o "$work/count_calls.so" "$here/count_calls.c" || return
	if [ -n "$root" ]; then
		smi=$MPU_SMI cuda=$MPU_CUDA
		return
	fi
	smi='nvidia-smi'
	cuda="$work/compute 64"
	compile_cuda compute.cu compute
}

# traced NAME COMMAND...: the same run, seen by both.
traced() {
	local name=$1

	shift
	options=
	trace_and_compare "$name" "$@"
	echo 'the table:'
	$limit "$work/mpu-run" $root -c -- "$@" 2>&1 >/dev/null | head -n 40
	# The CUDA program checks its own result.
	options=--trace-execute
	trace_and_compare "$name-executed" "$@"
}

trace_and_compare() {
	local name=$1

	shift
	title "$* $options"
	check "$* runs under a trace" counted "$name" "$@"
	check "$*: the calls are those that the program counts" \
		python3 "$here/trace_compare.py" counts "$work/$name.json" "$work/$name.counted"
	check "$*: every call has a name or is a legacy one" \
		python3 "$here/trace_compare.py" names "$work/$name.json"
	python3 "$here/trace_compare.py" show "$work/$name.json"
}

counted() {
	local name=$1

	shift
	$limit "$work/mpu-run" $root --trace="$work/$name.json" --trace-format=json -c $options -- \
		env LD_PRELOAD="$work/count_calls.so" COUNT_CALLS="$work/$name.counted" "$@" \
		>"$work/$name.out"
}

# cost NAME COMMAND...: the best of five runs each way.
cost() {
	python3 - "$work/mpu-run" "$root" "$work/cost" "$@" <<'EOF'
import os, subprocess, sys, time
mpu_run, root, file, name, *command = sys.argv[1:]
run = [mpu_run] + ([root] if root else [])
ways = {"without mpu-run": [], "mpu-run": run + ["--"], "mpu-run -c": run + ["-c", "--"],
        "mpu-run --trace": run + [f"--trace={file}", "--"],
        "mpu-run --trace --trace-execute": run + [f"--trace={file}", "--trace-execute", "--"],
        "mpu-run --trace, JSON": run + [f"--trace={file}", "--trace-format=json", "--"]}
best, calls, status = {}, 0, None
for turn in range(5):
    for way, prefix in ways.items():
        began = time.monotonic()
        done = subprocess.run(prefix + command, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=60)
        status = done.returncode if status is None else status
        if done.returncode != status:
            sys.exit(f"{name}, {way}: exit status {done.returncode}, natively {status}")
        best[way] = min(best.get(way, 1e9), time.monotonic() - began)
        if way.endswith("JSON"):
            with open(file, encoding="utf-8") as lines:
                calls = sum(1 for _ in lines)
for way, seconds in best.items():
    print(f"{name}, {way}: {seconds * 1000:.1f} ms, "
          f"{(seconds - best['mpu-run']) * 1e6 / max(calls, 1):+.1f} us a call against mpu-run "
          f"({calls} calls)")
EOF
}

main
