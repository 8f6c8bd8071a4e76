#!/bin/bash
# Checks that need no build: the documents agree with the tree, and nothing is left unfinished.
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/tests/lib/results.sh"
: "${MPU_RESULTS:=/dev/stdout}"
cd "$root" || exit 1

# The files of the project; build directories and what git keeps are none.
project_files() {
	find . -path ./.git -prune -o -path './build*' -prune -o -name __pycache__ -prune -o \
		-type f "$@" -print
}

# verdict CASE COMPLAINTS: passed when there are none.
verdict() {
	if [ -z "$2" ]; then
		result passed "$1"
	else
		result failed "$1" "$(tr '\n' ' ' <<<"$2")"
	fi
}

verdict 'README.md lists the packages of tests/packages.txt' "$(
	diff <(grep -v '^#' tests/packages.txt | awk '{ print $1 }' | sort) \
		<(sed -n 's/^| `\([a-z0-9.+-]*\)` |.*/\1/p' README.md | sort) | grep '^[<>]'
)"

verdict 'links in the documents lead to files' "$(
	project_files -name '*.md' | while read -r document; do
		grep -o '](\([^)#]*\)' "$document" | cut -c3- | grep -v '^[a-z]*:' |
			while read -r link; do
				[ -e "$(dirname "$document")/$link" ] || echo "$document: $link"
			done
	done
)"

verdict 'continuous integration runs the test command of README.md' "$(
	grep -q '^exec tests/run.sh$' .ci/run && grep -q '^tests/run.sh' README.md ||
		echo '.ci/run and README.md disagree'
)"

verdict 'docs/pid-fields.md says what happens to every control with PIDs' "$(
	grep -v '^#' nvabi/data/pid-controls | awk 'NF { print $2 }' | sort -u | while read -r cmd; do
		grep -qw "$cmd" docs/pid-fields.md || echo "$cmd"
	done
)"

verdict 'nothing is marked as unfinished' "$(
	project_files \( -name '*.[ch]' -o -name '*.py' -o -name '*.sh' -o -name '*.md' \
		-o -name CMakeLists.txt -o -name '*.csv' -o -name '*.cu' \) |
		grep -v '^./tests/house.sh$' | xargs grep -nwE 'TODO|FIXME|XXX'
)"

verdict 'scripts can be executed' "$(
	project_files -name '*.sh' | while read -r script; do
		head -n 1 "$script" | grep -q '^#!' && [ ! -x "$script" ] && echo "$script"
	done
)"
