# What the scripts for a machine with an NVIDIA GPU share. Sourced; wants $work, a directory of the
# script's own, and from take on $build, where the programs were built.
gpu_tests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
passed=0 failed=0
failures_say=what # or: status, as well, for programs whose exit statuses tell failures apart

# title WORDS: what follows, and at which second.
title() {
	printf '\n=== %s (%s s)\n' "$1" $SECONDS
}

# check WHAT COMMAND...: one assertion.
check() {
	local what=$1 status

	shift
	"$@"
	status=$?
	if [ $status = 0 ]; then
		passed=$((passed + 1))
		echo "PASS: $what"
		return
	fi
	failed=$((failed + 1))
	[ $failures_say = what ] || what+=" (exit status $status)"
	echo "FAIL: $what"
}

# verdict: the last line, and the script's exit status. Nothing checked is not a success.
verdict() {
	echo "$passed checks passed, $failed failed"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

# wait_for COMMAND...: until it succeeds, for half a minute.
wait_for() {
	for _ in $(seq 300); do
		"$@" 2>/dev/null && return
		sleep 0.1
	done
	return 1
}

# take PROGRAM...: copies them from wherever they lie in the build directory to $work, where other
# users may run them.
take() {
	local program path

	for program; do
		path=$(find "$build" -type f -perm -u+x -name "$program" | head -n 1)
		if [ -z "$path" ]; then
			echo "no $program under $build: build the preset static first"
			return 1
		fi
		install -m 755 "$path" "$work/" || return
	done
}

# compile_cuda SOURCE PROGRAM [OPTION...]: a CUDA program of tests/gpu, for the GPU of this machine.
compile_cuda() {
	local source=$gpu_tests/$1 program=$work/$2 capability

	shift 2
	capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
	if [ -z "$capability" ]; then
		echo "nvidia-smi tells of no GPU here: this wants a machine with an NVIDIA GPU"
		return 1
	fi
	nvcc -O2 -arch="sm_$capability" -o "$program" "$source" "$@"
}
