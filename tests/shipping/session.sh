#!/bin/bash
# Runs a session at a terminal against the simulated driver and prints it as docs/session.md. Must be
# root.
#
#   tests/shipping/session.sh BUILD >docs/session.md
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ $# != 2 ]; then
	# With a /mnt of its own, so that the folders of the session have the same names everywhere.
	exec unshare --mount --propagation private "$0" "$(cd "${1:?usage: session.sh BUILD}" && pwd)" inside
fi
build=$1
export LC_ALL=C.UTF-8 COLUMNS=80
export PATH=$build/supervisor:$build/runtime-hook:$build/examples:$build/tests/simrm:$PATH

# show COMMAND: as it is typed and what it prints, with its exit status where that is not 0.
show() {
	local status

	printf '    $ %s\n' "$1"
	bash -c "$1" 2>&1 </dev/null | sed 's/^/    /; s/[ \t]*$//'
	status=${PIPESTATUS[0]}
	[ "$status" = 0 ] || printf '    $ echo $?\n    %s\n' "$status"
	echo
}

# say: a paragraph from standard input.
say() {
	cat
	echo
}

# until_there COMMAND...: waits for COMMAND to succeed.
until_there() {
	local turn

	for turn in {1..100}; do
		"$@" && return
		sleep 0.1
	done
	echo "$0: in vain: $*" >&2
	exit 1
}

mount -t tmpfs tmpfs /mnt && mkdir /mnt/gpu || exit 1
simrm --foreground --driver-version=535.104.05 --accounting /mnt/gpu >/mnt/simrm.log 2>&1 &
started=($!)
trap 'kill "${started[@]}"; wait' EXIT
until_there grep -q ready /mnt/simrm.log
gpu-hold --dev-root=/mnt/gpu --name=neighbour --memory=4096 --util=gr:60 >/mnt/neighbour &
started+=($!)
until_there test -s /mnt/neighbour
cat >/mnt/job <<'END'
#!/bin/sh
# Holds 2 GiB of the GPU and looks at it.
gpu-hold --dev-root=/mnt/gpu --name=train --memory=2048 --util=gr:30 >/mnt/ready &
until [ -s /mnt/ready ]; do sleep 0.05; done
gpu-ps --dev-root=/mnt/gpu
kill $!
rm /mnt/ready
END
chmod +x /mnt/job

say <<'END'
# A session

What follows was not written but run, by [tests/shipping/session.sh](../tests/shipping/session.sh), on the simulated driver: `/mnt/gpu` are the device files of a simulated release 535.104.05, `gpu-ps` asks what nvidia-smi asks, and a neighbour holds 4096 MiB. On a machine with a GPU leave out `--dev-root` and take nvidia-smi. A test runs it again and compares.

## Before and after

A job looks at the GPU in a PID namespace, as in a container. It sees PIDs of the host, and the neighbour.
END
show 'cat /mnt/job'
show 'unshare --pid --fork --mount-proc /mnt/job'
say <<'END'
The same under mpu-run: its own process, under its own PID.
END
show 'mpu-run --pid-ns --dev-root=/mnt/gpu -- /mnt/job'
say <<'END'
## What was done for it
END
show 'mpu-run --pid-ns --stats --dev-root=/mnt/gpu -- /mnt/job >/dev/null'
say <<'END'
## When something is wrong

An error says what, why and what to do about it, and mpu-run's own exit status is 125.
END
show 'mpu-run --dev-root=/mnt/nothing -- true'
show 'mpu-run --driver-version=304.137 -- true'
show 'mpu-run --veiw=host -- true'
show 'mpu-run --view=guest -- true'
show 'mpu-run --dev-root=/mnt/gpu -- mpu-run --dev-root=/mnt/gpu -- true'
show 'mpu-run --dev-root=/mnt/gpu -- no-such-program'
show 'mpu-hook install'
say <<'END'
## What a hook changes

A container that does not opt in is passed on as it came; one that does is refused when no mpud runs.
END
show "echo '{\"annotations\":{}}' | mpu-hook precreate"
show "echo '{\"annotations\":{\"mpu.enable\":\"1\"}}' | mpu-hook --socket=/mnt/mpud.sock precreate"
show "echo '{\"annotations\":{\"mpu.enable\":\"maybe\"}}' | mpu-hook precreate"
show 'mpu-hook --root=/mnt/root install --podman'
show 'mpu-hook --root=/mnt/root uninstall --podman'
say <<'END'
## Looking into a running container

A daemon serves containers; here one of mpu-run's, which looks at the GPU every second. Nobody changes it or starts it anew.
END
mpud --socket=/mnt/mpud.sock --dev-root=/mnt/gpu 2>/mnt/mpud.log &
started+=($!)
until_there grep -q 'msg="ready"' /mnt/mpud.log
mpu-run --pid-ns --socket=/mnt/mpud.sock --dev-root=/mnt/gpu -- \
	sh -c 'while sleep 1; do gpu-ps --dev-root=/mnt/gpu; done' >/dev/null 2>&1 &
container=$!
started+=($container)
until_there sh -c 'mpuctl status --socket=/mnt/mpud.sock | grep -q "^ *mpu-run-"'
show 'mpuctl trace --socket=/mnt/mpud.sock --duration=3 -e "control=*GPU_GET_PIDS" mpu-run | head -n 1'
show 'mpuctl trace --socket=/mnt/mpud.sock nobody'
kill "$container" && wait "$container"
unset "started[-1]"
show 'mpuctl status --socket=/mnt/mpud.sock | tail -n 1'
say <<'END'
## What is known of a driver
END
show 'mpuctl abi show 580.95.05 NV2080_CTRL_CMD_GPU_GET_PIDS'
show 'mpuctl abi diff 570.211.01 580.95.05 | head -n 5'
show 'mpuctl abi show 580.95.05 NV_NO_SUCH_CALL'
say <<'END'
## Help

Each program has `--help`, a manual page and completion for bash, zsh and fish.
END
show 'mpu-run --help'
show 'mpuctl --help'
show 'mpuctl trace --help'
