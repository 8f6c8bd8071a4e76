#!/bin/bash
# Runs every fuzz target and prints a table of what was done. Exit status 0 when nothing was found.
#
#   tests/fuzz/run.sh [SECONDS-PER-TARGET [TARGET...]]     5 seconds, all targets
#
# Builds with clang into build-fuzz (or $MPU_FUZZ_BUILD). What the runs learn stays in
# build-fuzz/corpus, inputs that break something in build-fuzz/found. Where $MPU_RESULTS names a
# file, each target is a case there. The target "notification" makes PID namespaces: as root, or in
# a user namespace where the kernel allows them.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${MPU_FUZZ_BUILD:-$root/build-fuzz}
. "$root/tests/lib/results.sh"
: "${MPU_RESULTS:=/dev/null}"
seconds=${1:-5}
shift
targets=${*:-version process-state config profile notification journal intake lxc-message allow}
failed=0

build_targets() {
	[ -e "$build/build.ninja" ] ||
		cmake -S "$root" -B "$build" -G Ninja -DMPU_FUZZ=ON -DCMAKE_C_COMPILER=clang-14 || return
	ninja -C "$build" fuzz-targets
}

# An input's length: the notification's is a script and two streams of bytes.
options_of() {
	case $1 in
	version) echo -max_len=512 ;;
	notification | journal | intake | lxc-message) echo -max_len=1024 -len_control=0 ;;
	allow) echo "-max_len=1024 -dict=$here/allow.dict" ;;
	*) echo "-max_len=4096 -dict=$here/json.dict" ;;
	esac
}

# Where processes see few others, and no process of this machine is in the game.
in_namespace() {
	local user

	[ "$(id -u)" = 0 ] || user=--map-root-user
	unshare ${user:-} --pid --fork --mount-proc sh -c '"$@"; exit $?' sh "$@"
}

fuzz() {
	local target=$1 log=$build/fuzz-$1.log status

	mkdir -p "$build/corpus/$target" "$build/found"
	in_namespace nice -n 10 "$build/tests/fuzz/fuzz-$target" "-max_total_time=$seconds" -timeout=25 \
		-rss_limit_mb=3072 -print_final_stats=1 "-artifact_prefix=$build/found/$target-" \
		"$build/corpus/$target" "$here/seeds/$target" $(options_of "$target") >"$log" 2>&1
	status=$?
	printf '%-14s %12s %10s %8s  %s\n' "$target" \
		"$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
		"$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")" \
		"$(grep -o ' cov: [0-9]*' "$log" | tail -n 1 | cut -c7-)" \
		"$([ $status = 0 ] && echo nothing found || echo "status $status, see $log")"
	if [ $status = 0 ]; then
		result passed "fuzzing: $target"
	else
		result failed "fuzzing: $target" "$(grep -m 1 -E 'not so:|ERROR:|runtime error:' "$log")"
		failed=1
	fi
}

if ! build_targets >"${log:=/tmp/mpu-fuzz-build.$$}" 2>&1; then
	cat "$log"
	result failed 'fuzz targets build' 'see above'
	exit 1
fi
rm -f "$log"
printf '%-14s %12s %10s %8s\n' target executions per-second edges
for target in $targets; do
	fuzz "$target"
done
exit $failed
