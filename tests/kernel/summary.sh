# docs/kernels.md from what the virtual machines said. Sourced; wants $work, $kernels and $limit.

# lines_of KERNEL: its results, from its folder.
lines_of() {
	tr -d '\r' <"$work/kernels/${1//\//-}/lines" 2>/dev/null
}

# fact KERNEL NAME: what was told of it.
fact() {
	lines_of "$1" | awk -F '\t' -v name="$2" '$1 == "fact" && $2 == name { print $3; exit }'
}

# kernels_that_ran: those with results.
kernels_that_ran() {
	local kernel

	for kernel in "${kernels[@]}"; do
		[ -z "$(fact "$kernel" kernel)" ] || echo "$kernel"
	done
}

# row NAME COMMAND...: a line of a table, a cell a kernel; COMMAND gets the kernel as its last word.
row() {
	local kernel

	printf '| %s |' "$1"
	shift
	for kernel in $(kernels_that_ran); do
		printf ' %s |' "$("$@" "$kernel")"
	done
	echo
}

release_of() { fact "$1" kernel | awk '{ print $1 }'; }
package_of() { echo "${1%/*}"; }
seconds_of() { cat "$work/kernels/${1//\//-}/seconds"; }
facility_of() { fact "$2" "$1"; }
line_under() { echo '---'; }

# outcome CHECK KERNEL: of that check there.
outcome() {
	lines_of "$2" | awk -F '\t' -v name="$1" '
		$2 == name && $1 == "passed" { found = $3 " s" }
		$2 == name && $1 == "failed" { found = "FAILED" }
		END { print found ? found : "-" }'
}

checks_that_ran() {
	local kernel

	for kernel in $(kernels_that_ran); do
		lines_of "$kernel"
	done | awk -F '\t' '($1 == "passed" || $1 == "failed") && !seen[$2]++ { print $2 }'
}

facts_that_compare() {
	lines_of "$1" | awk -F '\t' '$1 == "fact" && $2 ~ / with / {
		sub(/;$/, "", $3)
		gsub(/;/, "; ", $3)
		print "| " $2 " | `" $3 "` |"
	}'
}

write_summary() {
	local check facility last=$(kernels_that_ran | tail -n 1)

	cat <<-END
		# mpu on real kernels

		Written by \`tests/kernel/run.sh\` on $(date -u +%Y-%m-%d). Each kernel is Debian's own, booted in a
		virtual machine; the simulated driver's devices are character devices there with the numbers of the
		real ones, 195:255 and 195:0, and mpu was told nothing but the driver's version. All that a check
		compares is in \`tests/kernel/guest\`: "exactly" means the very processes of the PID namespace, with
		their memory and utilisation, and no other line.

		Of the facilities, \`wait-killable\` keeps signals from disturbing a call that is being answered,
		\`sync-wake-up\` makes calls cheaper, \`pidfd-thread\` takes a descriptor from the very thread,
		\`nsfs-pids\` translates PIDs in the kernel.
		What a kernel has not got mpu makes up for: by the leader's descriptors and by NSpid.

	END
	row '' release_of
	row '---' line_under
	row 'Debian suite' package_of
	for facility in wait-killable sync-wake-up pidfd-thread nsfs-pids; do
		row "$facility" facility_of "$facility"
	done
	row 'seconds in all, boot included' seconds_of
	printf '\n## Checks, with their time\n\n'
	row '' release_of
	row '---' line_under
	while read -r check; do
		row "$check" outcome "$check"
	done < <(checks_that_ran)
	case $(accelerator) in tcg*)
		printf '\nThe processor was emulated: the times compare kernels and say nothing of real ones.\n'
		;;
	esac
	printf '\n## What was told\n\nOn %s: two processes in a PID namespace, `train` with 100 MiB and 40 %% and ' \
		"$(release_of "$last")"
	printf '`serve` with 50 MiB and 10 %%, and a neighbour outside it.\n\n| asked | answer |\n|---|---|\n'
	facts_that_compare "$last"
	list_missing
}

list_missing() {
	grep -q '^not-run' "$MPU_RESULTS" || return 0
	printf '\n## Not run\n\n'
	awk -F '\t' '$1 == "not-run" { print "- " $2 ": " $3 }' "$MPU_RESULTS"
}
