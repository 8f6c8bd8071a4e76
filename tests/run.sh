#!/bin/bash
# Installs what is missing, builds, runs every test and prints one table.
#
#   tests/run.sh               everything, end to end on one driver release of each family
#   tests/run.sh --quick       the optimised build only
#   tests/run.sh --full        end to end on all driver releases, 10,000 short runs, longer fuzzing
#   tests/run.sh --no-install  leaves the system's packages alone
#
# Exit status 0 when nothing failed. What could not be run is listed with its reason. The output of
# each suite stays in build-tests/NAME.log.
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/tests/lib/packages.sh"
. "$root/tests/lib/build.sh"
. "$root/tests/lib/results.sh"

logs=$root/build-tests
matrix=quick
presets='default sanitize static'
install=yes

main() {
	read_options "$@"
	rm -rf "$logs" && mkdir -p "$logs" || exit 1
	export LC_ALL=C.UTF-8

	suite 'Debian packages' packages
	suite 'house rules' "$root/tests/house.sh"
	for preset in $presets; do
		suite "build: $preset" build_preset "$preset"
	done
	for preset in $presets; do
		[ "$preset" = static ] || suite "unit tests: $preset" unit_tests "$preset"
	done
	for preset in $presets; do
		suite "end to end: $preset" end_to_end "$preset"
	done
	for preset in $presets; do
		[ "$preset" = static ] || suite "survival: $preset" survival "$preset"
	done
	suite 'benchmark' benchmark
	suite 'container runtimes' runtimes
	suite 'shipping' shipping
	[ "$presets" = default ] || suite 'Debian packages of mpu' debian_packages
	[ "$presets" = default ] || suite 'fuzzing' fuzzing

	print_summary "$logs"
	! grep -q '^failed' "$logs"/*.results
}

read_options() {
	local option

	for option in "$@"; do
		case $option in
		--quick) presets=default ;;
		--full) matrix=full ;;
		--no-install) install=no ;;
		-h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
		*) echo "$0: unknown option $option; see --help" >&2 && exit 2 ;;
		esac
	done
}

# suite NAME COMMAND...: runs COMMAND, which reports its cases to $MPU_RESULTS. A suite whose
# command fails without a failed case, or that reports nothing, has failed itself.
suite() {
	local name=$1 file status started=$SECONDS

	shift
	suites=$((${suites:-0} + 1))
	file=$(printf '%s/%02d-%s' "$logs" "$suites" "$(tr -cs 'a-z0-9\n' - <<<"${name,,}")")
	export MPU_RESULTS=$file.results
	: >"$MPU_RESULTS"
	printf '%-44s ' "$name"
	"$@" >"$file.log" 2>&1 </dev/null
	status=$?
	if [ "$status" != 0 ] && ! grep -q '^failed' "$MPU_RESULTS"; then
		result failed "$name" "exit status $status, see $file.log" 2>/dev/null
	elif [ ! -s "$MPU_RESULTS" ]; then
		result failed "$name" "reported no case, see $file.log" 2>/dev/null
	fi
	sed -i "1i suite\t$name\t$((SECONDS - started))" "$MPU_RESULTS"
	printf '%s passed, %s failed, %s not run, %s s\n' $(for outcome in passed failed not-run; do
		count_results "$MPU_RESULTS" $outcome
	done) $((SECONDS - started))
	if grep -q '^failed' "$MPU_RESULTS"; then
		tail -n 60 "$file.log" | sed 's/^/    /'
	fi
}

packages() {
	local missing

	if [ $install = yes ]; then
		install_packages build demo test || return
	fi
	missing=$(missing_packages build demo test | xargs)
	if [ -n "$missing" ]; then
		result failed 'all packages are installed' "missing: $missing"
	else
		result passed 'all packages are installed'
	fi
}

build_preset() {
	build "$1" && touch "$logs/$1.built" && result passed "build $1"
}

built() {
	[ -e "$logs/$1.built" ] && return
	result not-run "$2" "the $1 build failed"
	return 1
}

# One case for each test of a Criterion program, one for any other program that ctest knows.
unit_tests() {
	built "$1" 'unit tests' || return 0
	local junit=$logs/$1.junit.xml

	ctest --test-dir "$(build_dir "$1")" --output-on-failure \
		--output-junit "$junit" --test-output-size-passed 1000000
	python3 "$root/tests/lib/junit_results.py" "$junit" "$MPU_RESULTS"
}

end_to_end() {
	built "$1" 'end to end' || return 0
	as_root env MPU_RESULTS="$MPU_RESULTS" \
		"$root/tests/e2e/run.sh" "$(build_dir "$1")" "$1" "$matrix"
}

# That it works; what it measures here says nothing.
benchmark() {
	built default 'benchmark' || return 0
	as_root "$root/tests/bench/run.sh" --quick --build="$(build_dir default)" &&
		result passed 'every section of the benchmark runs'
}

# mpud's deaths, and hostile containers.
survival() {
	built "$1" 'survival' || return 0
	as_root env MPU_RESULTS="$MPU_RESULTS" "$root/tests/survival/run.sh" "$(build_dir "$1")"
}

runtimes() {
	built default 'container runtimes' || return 0
	if [ ! -x "$root/tests/runtime/run.sh" ]; then
		result not-run 'container runtimes' 'there is no tests/runtime/run.sh'
		return
	fi
	as_root env MPU_RESULTS="$MPU_RESULTS" "$root/tests/runtime/run.sh" "$(build_dir default)"
}

# Help, manuals, completion, and what is installed.
shipping() {
	built default 'shipping' || return 0
	"$root/tests/shipping/run.sh" "$(build_dir default)"
}

# The .deb in a Debian 12 of its own.
debian_packages() {
	as_root env MPU_RESULTS="$MPU_RESULTS" "$root/packaging/test-deb.sh"
}

# Five seconds a parser, or a minute in the full run.
fuzzing() {
	MPU_FUZZ_BUILD=$root/build-fuzz \
		"$root/tests/fuzz/run.sh" "$([ $matrix = full ] && echo 60 || echo 5)"
}

main "$@"
