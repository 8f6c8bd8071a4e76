#!/bin/bash
# End-to-end tests of one build against the simulated driver. Must be root.
#
#   tests/e2e/run.sh BUILD-DIRECTORY default|sanitize|static quick|full
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$root/tests/lib/results.sh"
: "${MPU_RESULTS:=/dev/null}"
export MPU_RESULTS
# Programs that any user may run, whoever calls this.
PATH=/usr/sbin:/usr/bin:/sbin:/bin

build=$1 preset=$2 matrix=$3
failed=0

main() {
	if [ "$(id -u)" != 0 ]; then
		echo "$0: must be root: it makes processes of other users and PID namespaces" >&2
		exit 1
	fi
	if [ ! -w /dev/fuse ]; then
		result failed 'the simulated driver can be mounted' \
			'/dev/fuse is not there or not usable: load the module fuse'
		exit 1
	fi
	case $preset-$matrix in
	static-*)
		python matrix.py "$build" 535.183.01 580.95.05
		python no_libraries.py "$build"
		;;
	sanitize-*)
		python mpu_run.py "$build"
		python confine.py "$build"
		python allow.py "$build"
		python confine_fuzz.py "$build" --calls=30000
		python trace.py "$build"
		python lifetime.py "$build"
		python hostile.py "$build"
		python matrix.py "$build" quick
		python extras.py "$build"
		python many_runs.py "$build" 40
		;;
	*-quick)
		python mpu_run.py "$build"
		python confine.py "$build"
		python allow.py "$build"
		python confine_fuzz.py "$build" --release=535.183.01 --release=580.95.05
		python trace.py "$build"
		python lifetime.py "$build"
		python hostile.py "$build"
		python deputy.py "$build"
		python matrix.py "$build" quick
		python extras.py "$build"
		python many_runs.py "$build" 200
		;;
	*-full)
		python mpu_run.py "$build"
		python confine.py "$build"
		python allow.py "$build"
		python confine_fuzz.py "$build" --calls=1000000
		python trace.py "$build"
		python lifetime.py "$build"
		python hostile.py "$build"
		python deputy.py "$build"
		python matrix.py "$build" full
		python extras.py "$build"
		python many_runs.py "$build" 10000
		;;
	*)
		echo "usage: $0 BUILD-DIRECTORY default|sanitize|static quick|full" >&2
		exit 2
		;;
	esac
	exit $failed
}

python() {
	local script=$1

	shift
	printf '\n--- %s\n' "$script"
	PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$here/$script" "$@" || failed=1
}

main
