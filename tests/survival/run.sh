#!/bin/bash
# Whatever happens to mpud and whatever a container does to it, the others go on right. Must be root.
#
#   tests/survival/run.sh BUILD-DIRECTORY          in short: three minutes
#   tests/survival/run.sh BUILD-DIRECTORY --long   as docs/hostile.md records it: half an hour
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${1:?usage: run.sh BUILD-DIRECTORY [--long]}
failed=0

python() {
	local script=$1

	shift
	printf '\n--- %s\n' "$script"
	PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$here/$script" "$build" "$@" || failed=1
}

is_sanitized() {
	grep -q __asan_init "$build/supervisor/mpud"
}

if [ "$(id -u)" != 0 ]; then
	echo "$0: must be root: it makes containers, and looks into mpud" >&2
	exit 1
fi
if [ "${2-}" = --long ]; then
	python soak.py 2000 50 50
	python systemd.py 50
	python hostile.py --rounds=7 --seconds=3 --summary="$root/docs/hostile.md"
	python faults/faults.py --summary="$root/docs/faults.md"
else
	python soak.py 60 3 3
	python systemd.py 3
	python hostile.py
	# AddressSanitizer makes system calls of its own, and spins where they fail.
	is_sanitized || python faults/faults.py --short
fi
python deaths.py
python confine.py
python replace.py
exit $failed
