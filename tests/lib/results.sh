# Results of suites. A suite appends one line a case to the file $MPU_RESULTS:
#
#	passed<TAB>CASE
#	failed<TAB>CASE<TAB>WHY
#	not-run<TAB>CASE<TAB>WHY
#
# Sourced by the scripts that run suites and by those that are suites; tests/lib/results.py is the
# same for Python.

# result passed|failed|not-run CASE [WHY]: reports a case, and shows it unless it passed.
result() {
	printf '%s\t%s\t%s\n' "$1" "$2" "${3-}" >>"$MPU_RESULTS"
	[ "$1" = passed ] || printf '%s: %s: %s\n' "$1" "$2" "${3-}" >&2
}

# count_results FILE passed|failed|not-run: how many cases of FILE ended so.
count_results() {
	awk -F '\t' -v outcome="$2" '$1 == outcome { n++ } END { print n + 0 }' "$1"
}

# The summary of all suites, from the files DIRECTORY/*.results, in the order of their names. The
# name of a suite is the first line, "suite<TAB>NAME<TAB>SECONDS".
print_summary() {
	local file name seconds

	printf '\n%-44s %7s %7s %8s %6s\n' suite passed failed 'not run' time
	for file in "$1"/*.results; do
		IFS=$'\t' read -r _ name seconds <"$file"
		printf '%-44s %7d %7d %8d %5ss\n' "$name" "$(count_results "$file" passed)" \
			"$(count_results "$file" failed)" "$(count_results "$file" not-run)" "$seconds"
	done
	list_cases "$1" not-run 'NOT RUN'
	list_cases "$1" failed 'FAILED'
}

# list_cases DIRECTORY OUTCOME TITLE: every case that ended so, with its suite and why.
list_cases() {
	awk -F '\t' -v outcome="$2" -v title="$3" '
		$1 == "suite" { suite = $2 }
		$1 == outcome { if (!shown++) print "\n" title; print "  " suite ": " $2 ": " $3 }
	' "$1"/*.results
}
