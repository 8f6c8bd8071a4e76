#!/bin/sh
# inside.sh DIRECTORY: runs as the first process of a PID namespace. Starts the workload of the
# container, writes DIRECTORY/truth.json (whose PIDs are whose) and everything that the tools say to
# DIRECTORY. Waits for DIRECTORY/done before it ends, where DIRECTORY/stay exists.
#
# Wants the programs compute, thread and nested, and observe.py, in $PROGRAMS.
set -eu
out=$1

wait_for() {
	tries=0
	until [ -e "$1" ]; do
		tries=$((tries + 1))
		[ $tries -lt 200 ] || { echo "inside.sh: $1 did not appear in 20 s" >&2; exit 1; }
		sleep 0.1
	done
}

pid_by_name() {
	for comm in /proc/[0-9]*/comm; do
		if [ "$(cat "$comm" 2>/dev/null)" = "$1" ]; then
			basename "$(dirname "$comm")"
			return
		fi
	done
	echo "inside.sh: no process $1" >&2
	exit 1
}

"$PROGRAMS/compute" 256 "$out/ready-compute" >"$out/compute.txt" 2>&1 &
compute=$!
"$PROGRAMS/thread" 384 "$out/ready-thread" >"$out/thread.txt" 2>&1 &
thread=$!
if [ "${NESTED-yes}" = yes ]; then
	# Without privilege it takes a user namespace to make another one.
	[ "$(id -u)" = 0 ] || user=--map-root-user
	# CUDA hangs at start where /proc is not its own namespace's.
	unshare ${user-} --pid --fork --mount-proc --kill-child "$PROGRAMS/nested" 128 "$out/ready-nested" \
		>"$out/nested.txt" 2>&1 &
	wait_for "$out/ready-nested"
	nested=$(pid_by_name nested)
fi
wait_for "$out/ready-compute"
wait_for "$out/ready-thread"
echo "{\"compute\": $compute, \"thread\": $thread${nested:+, \"nested\": $nested}}" >"$out/truth.json"

nvidia-smi >"$out/smi.txt" 2>&1
nvidia-smi pmon -c 1 >"$out/pmon.txt" 2>&1
nvidia-smi --query-compute-apps=pid,process_name,used_memory --format=csv >"$out/apps.txt" 2>&1
python3 "$PROGRAMS/observe.py" >"$out/nvml.json"

if [ -e "$out/stay" ]; then
	echo $$ >"$out/observed"
	wait_for "$out/done"
fi
kill -9 $compute $thread ${nested:-}
