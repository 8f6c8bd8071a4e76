#!/bin/bash
# Shows and asserts on a machine with an NVIDIA GPU what mpu promises there. Needs the static
# programs, a shell, Python with pynvml, nvcc and root. Takes two to three minutes.
#
#   tests/gpu/run-on-gpu.sh [BUILD-DIRECTORY]     build-static, where none is named
#
# Prints everything; the end of the output says how many checks passed and failed. Exit status 0
# only when none failed. Leaves the GPU's settings alone.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/checks.sh"
build=$(cd "${1:-$here/../../build-static}" && pwd) || exit 1
work=$(mktemp -d /tmp/mpu-gpu.XXXXXX)
chmod 755 "$work"
cp "$here/inside.sh" "$here/observe.py" "$work/"
export PROGRAMS=$work
limit='timeout -k 5 40'
failures_say=status

main() {
	trap clean_up EXIT
	facts
	compile || exit 1
	start_outside || exit 1

	title 'Natively, in a PID namespace: what is wrong is recorded'
	record before unshare --pid --fork --mount-proc
	python3 "$here/compare.py" record "$work/before"

	title 'With mpu-run --pid-ns'
	inside after "$work/mpu-run" --pid-ns --stats --
	check 'the container sees its own processes, and only those' judge after
	check 'bytes of memory are those of the native run' same after before
	python3 "$here/compare.py" show "$work/before" "$work/after"

	title 'With mpu-run --pid-ns --policy=always, beside the driver'"'"'s own answer'
	beside_the_driver

	title 'As uid 65534: mpu-run itself'
	NESTED=yes inside own-uid setpriv --reuid=65534 --regid=65534 --clear-groups \
		"$work/mpu-run" --pid-ns --
	check 'an ordinary user sees the processes of the container' judge own-uid

	title 'As uid 65534: only the programs'
	NESTED=no inside inner-uid "$work/mpu-run" --pid-ns -- \
		setpriv --reuid=65534 --regid=65534 --clear-groups
	check 'a container of an ordinary user sees its processes' judge inner-uid

	title 'Without a PID namespace: everything works as it did'
	check 'mpu-run -- nvidia-smi' $limit "$work/mpu-run" -- nvidia-smi
	check 'mpu-run -- compute' $limit "$work/mpu-run" -- "$work/compute" 64
	check 'mpu-run --pid-ns -- PyTorch' $limit "$work/mpu-run" --pid-ns -- python3 -c '
import torch
a = torch.arange(1 << 20, device="cuda", dtype=torch.int64)
got, expected = int((a * a).sum()), sum(i * i for i in range(1 << 20))
print("PyTorch", torch.__version__, "sum of squares", got, expected)
raise SystemExit(got != expected)'

	title 'Result'
	verdict
}

judge() { python3 "$here/compare.py" judge "$work/$1"; }
same() { python3 "$here/compare.py" same "$work/$1" "$work/$2"; }

# record NAME COMMAND...: runs the workload and the tools as a child of COMMAND.
record() {
	local name=$1

	shift
	mkdir "$work/$name" && chmod 777 "$work/$name"
	$limit "$@" "$work/inside.sh" "$work/$name"
}

inside() {
	check "the container $1 ran to its end" record "$@"
}

# The driver translates these two lists itself on this release, so that its own answer to a caller
# of the same namespace that no filter watches must be ours.
beside_the_driver() {
	local name=always init container

	mkdir "$work/$name" && touch "$work/$name/stay"
	$limit "$work/mpu-run" --pid-ns --policy=always -- "$work/inside.sh" "$work/$name" &
	container=$!
	for _ in $(seq 600); do
		[ -e "$work/$name/observed" ] && break
		sleep 0.1
	done
	init=$(pgrep -f "^/bin/sh $work/inside.sh $work/$name" | while read -r pid; do
		[ "$(awk '/^NSpid:/ { print $NF }' /proc/$pid/status)" = "$(cat "$work/$name/observed")" ] &&
			echo "$pid"
	done)
	nsenter --target "$init" --pid --mount python3 "$work/observe.py" >"$work/$name/driver.json"
	touch "$work/$name/done"
	check 'the container always ran to its end' wait $container
	check 'the container sees its own processes, and only those' judge "$name"
	check 'GET_PIDS and GET_PID_INFO are the driver'"'"'s own answer inside' \
		python3 "$here/compare.py" oracle "$work/$name" "$work/$name/driver.json"
	check 'bytes of memory are those of the native run' same "$name" before
}

facts() {
	title 'The machine'
	uname -srm
	head -n 1 /proc/driver/nvidia/version
	nvidia-smi -L
	nvcc --version | tail -n 2
	python3 -c 'import sys, pynvml; print("Python", sys.version.split()[0], "pynvml", getattr(pynvml, "__version__", ""))'
	ls -l /dev/nvidia*
	readlink /proc/self/ns/pid
	id
}

compile() {
	title 'Programs'
	take mpu-run || return
	"$work/mpu-run" --version
	file "$work/mpu-run" 2>/dev/null
	compile_cuda compute.cu compute &
	compile_cuda thread.cu thread || return
	wait $! || return
	cp "$work/compute" "$work/nested" && cp "$work/compute" "$work/outside"
}

# Another tenant of the same GPU, outside of every namespace that follows.
start_outside() {
	title 'Outside'
	"$work/outside" 512 "$work/ready-outside" &
	outside=$!
	wait_for test -e "$work/ready-outside" ||
		{ echo "the outside process did not start"; return 1; }
	echo "PID $outside holds 512 MiB"
	nvidia-smi
}

clean_up() {
	[ -z "${outside-}" ] || kill -9 "$outside" 2>/dev/null
	[ "$failed" = 0 ] || for file in "$work"/*/*.txt "$work"/*/*.json; do
		printf '\n--- %s\n' "$file"
		cat "$file"
	done
	rm -rf "$work"
}

main "$@"
