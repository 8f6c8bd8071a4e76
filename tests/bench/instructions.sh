#!/bin/bash
# Counts the instructions of what must stay fast, which repeats as time does not, and compares them
# with the committed bounds of this architecture, tests/bench/instructions.ARCHITECTURE.
#
#   tests/bench/instructions.sh MPU-INSTRUCTIONS          fails when a count grew by more than 10 %
#   tests/bench/instructions.sh --renew MPU-INSTRUCTIONS  writes the bounds anew
#
# MPU-INSTRUCTIONS is the program, of the optimised build. Needs valgrind.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bounds=$here/instructions.$(uname -m)
calls=5000
release=580.142
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

main() {
	local renew=no program pass compose

	[ "${1-}" = --renew ] && renew=yes && shift
	program=$(realpath "${1?the program mpu-instructions}") || exit 1
	if ! command -v valgrind >/dev/null; then
		echo "valgrind is not installed: nothing was counted" >&2
		exit 1
	fi
	# Of a passed call: taking it and letting it go. What is remembered of each thread every 50 ms
	# comes by time, not by calls.
	count pass notify_receive call_received roster_note -- "$program" pass $calls || exit 1
	pass=$((counted / calls))
	count compose nvabi_pids_compose -- "$program" compose $release || exit 1
	compose=$counted
	if [ $renew = yes ]; then
		printf '%s\n' '# Instructions; written by tests/bench/instructions.sh --renew.' \
			"passed-call $pass" "compose-$release $compose" | tee "$bounds"
		exit
	fi
	if [ ! -f "$bounds" ]; then
		echo "$bounds is not there: make it with --renew on this architecture" >&2
		exit 1
	fi
	judge passed-call "$pass"
	pass=$?
	judge "compose-$release" "$compose" && [ $pass = 0 ]
}

# count WHAT FUNCTION... -- COMMAND...: counts the instructions that pass inside the functions into
# $counted; of one inside another only what is outside of the inner.
count() {
	local what=$1 function toggles=() totals

	shift
	while [ "$1" != -- ]; do
		function=$1
		shift
		if ! nm "$program" | grep -qw "$function"; then
			echo "$what: there is no function $function any more: name the one that took" \
				"its place in $0" >&2
			return 1
		fi
		toggles+=("--toggle-collect=$function")
	done
	shift
	if ! valgrind --tool=callgrind --callgrind-out-file="$work/$what.%p" "${toggles[@]}" \
		"$@" >"$work/$what.log" 2>&1; then
		cat "$work/$what.log" >&2
		return 1
	fi
	totals=$(cat "$work/$what".[0-9]* | awk '/^totals:/ { sum += $2 } END { print sum + 0 }')
	counted=$totals
	[ "$counted" -gt 100 ] || { echo "$what: nothing was counted" >&2; return 1; }
}

judge() {
	local name=$1 count=$2 bound

	bound=$(awk -v name="$name" '$1 == name { print $2 }' "$bounds")
	if [ -z "$bound" ]; then
		echo "$name: no bound in $bounds: --renew" >&2
		return 1
	fi
	echo "$name: $count instructions, bound $bound + 10 %"
	if [ $((count * 10)) -gt $((bound * 11)) ]; then
		echo "$name: grew from $bound to $count. Where that is right, renew the bound." >&2
		return 1
	fi
}

main "$@"
