#!/bin/bash
# Runs the matrix on every release and writes docs/releases.md. Takes three to ten minutes, as root.
#
#   tests/e2e/all-releases.sh [BUILD-DIRECTORY]
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${1:-$root/build}
table=$(mktemp) log=$(mktemp)
trap 'rm -f "$table" "$log"' EXIT

set -o pipefail
/usr/bin/python3 "$here/matrix.py" "$build" full --table="$table" | tee "$log"
{
	cat <<-'END'
		# Every release: what a container is told, natively / with mpu

		Written by `tests/e2e/all-releases.sh` from the simulated driver, which behaves as the source of
		each release says; R440 and R460, whose source is closed, by what is known of them. In each release
		processes ran on the host, in a container and in a namespace nested in it: with one thread and
		several, with one RM client and several, with GPU work begun by a thread that has since ended, with
		encoder and capture sessions, and some that have ended. Each container asked for everything, and
		each answer was compared with the truth.

		`wrong / right` means that the release itself gives the container PIDs of the host, thread ids,
		duplicates, other tenants' processes or kernel addresses, or leaves its own processes out; and that
		under `mpu-run --pid-ns` the same question is answered with exactly the processes of the container,
		under its own PIDs, with their memory, utilisation and accounting. With mpu each release was asked
		four times: as root, as an ordinary user, with `--policy=always`, and with `--pid-lookup=nspid` as
		well; and a fifth time confined (`--confine`), but for R440 and R460, whose calls are not known. `-` is a call that the release does not have.

	END
	echo "Last written on $(date -u +%F) with the programs of $(git -C "$root" rev-parse --short HEAD): $(tail -n 1 "$log")."
	echo
	cat "$table"
} >"$root/docs/releases.md"
