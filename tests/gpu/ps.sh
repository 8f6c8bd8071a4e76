#!/bin/bash
# mpuctl ps on a machine with an NVIDIA GPU: two containers that mpud serves, one that it does not, and
# a process of the host, compared with what nvidia-smi says on the host. Wants root, nvcc and the
# static programs; the containers are runc's where there is one, else mpu-run's.
#
#   tests/gpu/ps.sh BUILD-DIRECTORY [RUNC]
#   tests/gpu/ps.sh --simulated BUILD-DIRECTORY [RUNC]    with the simulated driver, and gpu-ps in
#                                                         nvidia-smi's place
#
# Exit status 0 only when no check failed.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/checks.sh"
simulated=
[ "${1-}" != --simulated ] || { simulated=yes && shift; }
build=$(cd "${1:?usage: ps.sh [--simulated] BUILD-DIRECTORY [RUNC]}" && pwd) || exit 1
runc=${2-$(command -v runc)}
work=$(mktemp -d /tmp/mpu-ps-gpu.XXXXXX)
socket=$work/mpud.sock
dev=/dev
started=()

main() {
	trap clean_up EXIT
	prepare || exit 1

	title 'Containers and a process of the host'
	hold outside 512 "$work/outside"
	hold bare 128 unshare --pid --fork --mount-proc --kill-child "$work/bare"
	container first 256
	container second 384
	for name in outside bare first second; do
		check "$name holds its memory" wait_for test -e "$work/ready/$name"
	done
	if [ $failed != 0 ]; then
		tail -n 20 "$work"/*.log
		return 1
	fi

	title 'What mpuctl says'
	ps
	COLUMNS=160 ps
	observe "$work/seen" ps
	judge 'root' "$work/seen"
	observe "$work/unprivileged" as_nobody
	check 'an ordinary user is told the same processes' python3 "$here/ps_compare.py" same \
		"$work/seen" "$work/unprivileged"

	title 'Without mpud'
	kill "$mpud" && wait "$mpud"
	ps
	observe "$work/alone" ps
	check 'the same processes, none of them served' python3 "$here/ps_compare.py" alone \
		"$work/seen" "$work/alone"

	title 'Result'
	cat "$work/mpud.log"
	verdict
}

ps() {
	"$work/mpuctl" ps --dev-root="$dev" --socket="$socket" "$@"
}

as_nobody() {
	setpriv --reuid=65534 --regid=65534 --clear-groups "$work/mpuctl" ps --dev-root="$dev" \
		--socket="$socket" "$@"
}

# observe DIRECTORY COMMAND: what mpuctl and the driver's own tool say, at about the same time. What
# is idle in the samples of the moment is asked again.
observe() {
	mkdir -p "$1"
	for _ in $(seq 10); do
		"$2" --json >"$1/mpuctl.json" || return
		python3 "$here/ps_compare.py" busy "$1" && break
		sleep 1
	done
	if [ -n "$simulated" ]; then
		"$work/gpu-ps" --dev-root="$dev" --json >"$1/gpu-ps.json"
	else
		nvidia-smi --query-compute-apps=gpu_bus_id,pid,process_name,used_memory \
			--format=csv,noheader,nounits >"$1/smi.csv"
		nvidia-smi pmon -c 1 | tee "$1/pmon.txt"
	fi
	cat "$1"/smi.csv 2>/dev/null
	pgrep -x 'outside|bare|first|second' >"$1/pids"
}

judge() {
	check "$1: PIDs, names and memory are those of the driver's own tool on the host" \
		python3 "$here/ps_compare.py" truth "$2"
	check "$1: each is in its container, under its number there" \
		python3 "$here/ps_compare.py" containers "$2"
	check "$1: who computes is busy" python3 "$here/ps_compare.py" busy "$2"
}

prepare() {
	local program

	title 'The machine'
	uname -srm
	chmod 755 "$work" && mkdir -m 777 "$work/ready" || return
	take mpud mpuctl mpu-hook mpu-run ${simulated:+simrm gpu-hold gpu-ps} || return
	if [ -n "$simulated" ]; then
		dev=$work/dev && mkdir "$dev" && "$work/simrm" --driver-version=580.142 "$dev" >"$work/simrm.log" 2>&1 || return
		cp "$work/gpu-hold" "$work/compute"
		head -n 1 "$dev/version"
	else
		head -n 1 /proc/driver/nvidia/version
		compile_cuda compute.cu compute || return
	fi
	for program in outside bare first second; do
		cp "$work/compute" "$work/$program"
	done
	if [ -n "$runc" ]; then
		"$runc" --version | head -n 1
		mkdir "$work/root" && mount --rbind / "$work/root" &&
			mount --make-rslave "$work/root" || return
	else
		echo 'no runc: containers of mpu-run'
	fi
	"$work/mpud" --socket="$socket" --dev-root="$dev" 2>"$work/mpud.log" &
	mpud=$!
	wait_for test -e "$socket" || { cat "$work/mpud.log" && return 1; }
}

# arguments NAME MIB: what a program that holds memory is called with.
arguments() {
	if [ -n "$simulated" ]; then
		echo "--dev-root=$dev --name=$1 --memory=$2 --util=gr:40"
	else
		echo "$2 $work/ready/$1"
	fi
}

# hold NAME MIB COMMAND...: runs it in the background, until clean_up.
hold() {
	local name=$1 arguments

	arguments=$(arguments "$1" "$2")
	shift 2
	# shellcheck disable=SC2086
	"$@" $arguments >"$work/$name.log" 2>&1 </dev/null &
	started+=($!)
	[ -z "$simulated" ] || announce "$name" &
}

announce() {
	until grep -q ready "$work/$1.log" 2>/dev/null; do
		sleep 0.1
	done
	touch "$work/ready/$1"
}

container() {
	local id

	if [ -z "$runc" ]; then
		hold "$1" "$2" "$work/mpu-run" --pid-ns --socket="$socket" --dev-root="$dev" -- "$work/$1"
		return
	fi
	id=$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')
	echo "$id" >"$work/$1.id"
	bundle "$1" "$2" || return
	"$runc" run --bundle "$work/bundle-$1" "$id" >"$work/$1.log" 2>&1 </dev/null &
	[ -z "$simulated" ] || announce "$1" &
}

bundle() {
	mkdir -p "$work/bundle-$1"
	(cd "$work/bundle-$1" && "$runc" spec) || return
	python3 - "$work" "$1" "$(arguments "$1" "$2")" <<-'PYTHON'
		import json, os, sys
		work, name, arguments = sys.argv[1:]
		path = f"{work}/bundle-{name}/config.json"
		config = json.load(open(path))
		caps = config["process"]["capabilities"]
		for kind in caps:
		    caps[kind] += ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]
		config["process"].update(terminal=False, args=[f"{work}/{name}", *arguments.split()],
		                         env=[f"{k}={v}" for k, v in os.environ.items()])
		config["process"].pop("rlimits", None)
		config["root"] = {"path": f"{work}/root", "readonly": False}
		config["mounts"] = [{"destination": "/proc", "type": "proc", "source": "proc"}]
		config["annotations"] = {"mpu.enable": "1", "io.kubernetes.cri.container-name": name,
		                         "io.kubernetes.cri.sandbox-name": "pod-of-" + name}
		for key in ["maskedPaths", "readonlyPaths"]:
		    config["linux"].pop(key, None)
		config["linux"]["resources"] = {"devices": [{"allow": True, "access": "rwm"}]}
		json.dump(config, open(path, "w"))
	PYTHON
	"$work/mpu-hook" --socket="$socket" --runtime="$runc" precreate \
		<"$work/bundle-$1/config.json" >"$work/changed.json" &&
		mv "$work/changed.json" "$work/bundle-$1/config.json"
}

clean_up() {
	local id

	for id in $(cat "$work"/*.id 2>/dev/null); do
		"$runc" kill "$id" KILL 2>/dev/null
		sleep 0.5
		"$runc" delete --force "$id" 2>/dev/null
	done
	# unshare takes no TERM; what it and mpu-run have started ends with them.
	[ ${#started[@]} = 0 ] || kill -KILL "${started[@]}" 2>/dev/null
	[ -z "${mpud-}" ] || kill "$mpud" 2>/dev/null
	sleep 1
	umount --lazy --recursive "$work/root" 2>/dev/null
	[ -z "$simulated" ] || fusermount3 -u "$work/dev"
	rm -rf --one-file-system "$work"
}

main "$@"
