#!/bin/bash
# All that shows what a GPU does, on a machine with an NVIDIA GPU, in one call: tests/gpu/trace.sh
# (mpu-run --trace), mpuctl trace of a container that runs, mpuctl stats, and tests/gpu/ps.sh (mpuctl
# ps). Needs root, the static programs, bash, python3, nvcc with its C compiler, and runc where there is
# one. Takes two to three minutes.
#
#   tests/gpu/see.sh BUILD-DIRECTORY [RUNC]
#   tests/gpu/see.sh --simulated BUILD-DIRECTORY [RUNC]   with the simulated driver, and gpu-ps in
#                                                         nvidia-smi's and the CUDA program's place
#
# Exit status 0 only when no check failed.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/checks.sh"
simulated=
[ "${1-}" != --simulated ] || { simulated=--simulated && shift; }
build=$(cd "${1:?usage: see.sh [--simulated] BUILD-DIRECTORY [RUNC]}" && pwd) || exit 1
shift
work=$(mktemp -d /tmp/mpu-see.XXXXXX)
dev=/dev

main() {
	trap clean_up EXIT
	prepare || exit 1
	check 'tests/gpu/trace.sh' "$here/trace.sh" "$build"
	running nvidia-smi $smi
	running 'the CUDA program' $cuda
	title 'mpuctl stats'
	"$work/mpuctl" stats --socket="$work/mpud.sock" --interval=1
	check 'tests/gpu/ps.sh' "$here/ps.sh" $simulated "$build" "$@"

	title 'Result of all'
	cat "$work/mpud.log"
	verdict
}

prepare() {
	take mpud mpuctl mpu-run ${simulated:+simrm gpu-ps} || return
	"${CC:-gcc}" -O2 -shared -fPIC -o "$work/count_calls.so" "$here/count_calls.c" || return
	if [ -n "$simulated" ]; then
		dev=$work/dev && mkdir "$dev" || return
		"$work/simrm" --driver-version=580.142 "$dev" >"$work/simrm.log" 2>&1 || return
		smi="$work/gpu-ps --dev-root=$dev" cuda="$work/gpu-ps --dev-root=$dev --json"
		export MPU_DEV_ROOT=$dev MPU_SMI=$smi MPU_CUDA=$cuda
	else
		smi=nvidia-smi cuda="$work/compute 64"
		compile_cuda compute.cu compute || return
	fi
	"$work/mpud" --socket="$work/mpud.sock" --dev-root="$dev" 2>"$work/mpud.log" &
	mpud=$!
	wait_for grep -q 'msg="ready"' "$work/mpud.log" || { cat "$work/mpud.log" && return 1; }
}

# running WHAT COMMAND...: a container that runs already is traced while it executes COMMAND, which
# counts its calls itself.
running() {
	local what=$1

	shift
	title "mpuctl trace: $what in a container that runs"
	rm -f "$work"/{go,json,said,counted}
	"$work/mpu-run" --pid-ns --socket="$work/mpud.sock" --dev-root="$dev" -- sh -c '
		until [ -e "$0/go" ]; do sleep 0.1; done
		LD_PRELOAD="$0/count_calls.so" COUNT_CALLS="$0/counted" exec "$@"' \
		"$work" "$@" >"$work/out" 2>&1 &
	container=$!
	wait_for listed || return
	"$work/mpuctl" trace --socket="$work/mpud.sock" --json -C mpu-run >"$work/json" 2>"$work/said" &
	tracer=$!
	check "$what: the trace begins" wait_for grep -q seen "$work/said"
	touch "$work/go"
	check "$what runs well under it" wait "$container"
	check "$what: mpuctl ends with the container" wait "$tracer"
	cat "$work/said"
	check "$what: the controls are those that the program counts" \
		python3 "$here/trace_compare.py" controls "$work/json" "$work/counted"
	check "$what: every control has a name or is a legacy one" \
		python3 "$here/trace_compare.py" names "$work/json"
	python3 "$here/trace_compare.py" show "$work/json"
}

listed() {
	"$work/mpuctl" status --socket="$work/mpud.sock" | grep -q '^ *mpu-run-'
}

clean_up() {
	[ -z "${mpud-}" ] || { kill "$mpud" && wait "$mpud"; }
	[ -z "$simulated" ] || fusermount3 -u "$work/dev"
	rm -rf --one-file-system "$work"
}

main "$@"
