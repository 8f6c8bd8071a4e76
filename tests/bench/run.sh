#!/bin/bash
# Measures what supervision costs and prints one table: every row side by side with what it is
# compared to, in one run. docs/performance.md says how to read it. Must be root.
#
#   tests/bench/run.sh [OPTIONS] [SECTION]...    sections: pass handled idle active memory start run
#
#   --json=FILE    keeps the rows there too
#   --rounds=N     rounds of each section; without, 30 to 100
#   --driver=V     release of the simulated driver (535.104.05)
#   --build=DIR    uses the programs there and builds nothing; without, the preset default is built
#   --quick        few rounds and small numbers: shows that the benchmark works, and nothing else
#
# Takes about three minutes. Nothing else should run on the machine meanwhile.
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$root/tests/lib/build.sh"
build= arguments=()

for argument; do
	case $argument in
	--build=*) build=${argument#*=} ;;
	-h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
	*) arguments+=("$argument") ;;
	esac
done
if [ "$(id -u)" != 0 ]; then
	echo "$0: must be root: it makes PID namespaces and a simulated driver" >&2
	exit 1
fi
if [ -z "$build" ]; then
	build=$(build_dir default)
	build default mpu-bench mpu-run mpud gpu-ps simrm >"$build.bench.log" 2>&1 || {
		cat "$build.bench.log"
		exit 1
	}
	rm -f "$build.bench.log"
fi
cpus=$(nproc) load=$(cut -d' ' -f1 /proc/loadavg)
echo "$(uname -srm), $cpus CPUs, load $load, $(date -u +%F)"
if awk -v load="$load" -v cpus="$cpus" 'BEGIN { exit !(load > cpus / 4) }'; then
	echo "The machine is busy: the figures are worth less."
fi
exec "$build/tests/bench/mpu-bench" --build="$build" "${arguments[@]}"
