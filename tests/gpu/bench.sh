#!/bin/bash
# Measures on a machine with an NVIDIA GPU what mpu adds: to whole programs, bare, under mpu-run, under
# an agent without sync wake-up and under the kernel's floor, round by round; and to kernel launches and
# training steps, thread by thread. Needs the static programs (with mpu-agent), a shell, Python, PyTorch,
# gcc and nvcc, and root. Takes about eleven minutes.
#
#   tests/gpu/bench.sh [OPTIONS] [BUILD-DIRECTORY]     build-static, where none is named
#
#   --json=FILE    writes all single values there
#   --quick        two rounds: shows that it works
#   --scale=PART   that part of the rounds, such as 0.5
#   --only=WORDS   workloads whose names begin with one of these words
#   --variants=WORDS   whole programs: these and bare, such as mpu-run or `floor loop`
#   --confine      bare, plain and confined instead of all these
#   --diagnose     instead: takes runs of nvidia-smi and of a CUDA program's start-up apart
#
# Leaves the GPU's settings alone.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/checks.sh"
build= json= diagnose=no options=()
work=$(mktemp -d /tmp/mpu-gpu-bench.XXXXXX)

main() {
	local argument

	trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT
	for argument; do
		case $argument in
		--json=*) json=$argument ;;
		--diagnose) diagnose=yes ;;
		--quick | --only=* | --scale=* | --variants=* | --confine) options+=("$argument") ;;
		-h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
		-*) echo "$0: unknown option $argument; see --help" >&2 && exit 2 ;;
		*) build=$argument ;;
		esac
	done
	build=$(cd "${build:-$here/../../build-static}" && pwd) || exit 1
	take mpu-run mpu-agent mpud && compile && start_mpud || exit 1
	uname -sr
	head -n 1 /proc/driver/nvidia/version
	nvidia-smi -L
	if [ $diagnose = yes ]; then
		python3 "$here/bench_diagnose.py" "${options[@]}" "$work" nvidia-smi &&
			python3 "$here/bench_diagnose.py" "${options[@]}" "$work" "$work/gpu-work" start
		exit
	fi
	python3 "$here/bench.py" ${json:+"$json"} "${options[@]}" "$work"
}

compile() {
	local root=$here/../.. filters
	local parts=(supervisor/mpud-connect.c supervisor/kernel/notify.c filter/filter.c base/error.c)

	filters=$(find "$build" -name native.c | head -n 1)
	if [ -z "$filters" ]; then
		echo "no filter/native.c under $build: cmake --preset static -DMPU_TESTS=ON," \
			"cmake --build --preset static --target mpu-run mpu-agent mpud"
		return 1
	fi
	gcc -O2 -D_GNU_SOURCE -shared -fPIC -o "$work/bench-shim.so" "$here/bench_shim.c" -ldl &&
		gcc -O2 -D_GNU_SOURCE -shared -fPIC -I "$root" -o "$work/supervised-thread.so" \
			"$here/supervised_thread.c" "${parts[@]/#/$root/}" "$filters" &&
		compile_cuda bench.cu gpu-work -I "$here" -Xlinker -rpath="$work" \
			"$work/supervised-thread.so"
}

start_mpud() {
	"$work/mpud" --socket="$work/mpud.sock" --log=warning &
	wait_for test -S "$work/mpud.sock" || { echo "mpud does not start" && return 1; }
}

main "$@"
