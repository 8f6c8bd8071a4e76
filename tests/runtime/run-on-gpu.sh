#!/bin/bash
# Containers of runc on a machine with an NVIDIA GPU: what nvidia-smi, pmon and NVML say inside, as it
# is and with mpu. Needs root, runc, nvcc, Python with pynvml, and the static programs.
#
#   tests/runtime/run-on-gpu.sh BUILD-DIRECTORY [RUNC]
#
# The container's root is the machine's own, so that the driver's libraries are there, with its own
# /proc and PID namespace. Exit status 0 only when no check failed.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
gpu=$(cd "$here/../gpu" && pwd)
. "$gpu/checks.sh"
build=$(cd "${1:?usage: run-on-gpu.sh BUILD-DIRECTORY [RUNC]}" && pwd) || exit 1
runc=${2:-runc}
work=$(mktemp -d /tmp/mpu-oci-gpu.XXXXXX)
socket=$work/mpud.sock
limit='timeout -k 5 60'

main() {
	trap clean_up EXIT
	prepare || exit 1

	title 'runc, without mpu: what is wrong is recorded'
	bundle bare '{}' && container bare
	python3 "$gpu/compare.py" record "$work/bare"

	title 'runc with a config that mpu-hook precreate changed'
	bundle patched '{"mpu.enable": "1"}'
	"$work/mpu-hook" --socket="$socket" --runtime="$runc" precreate \
		<"$work/patched/config.json" >"$work/changed.json" &&
		mv "$work/changed.json" "$work/patched/config.json"
	check 'the container ran to its end' container patched
	judge patched

	title 'runc with the prestart hook alone'
	bundle hooked '{"mpu.enable": "1"}' '[{"path": "'"$work"'/mpu-hook",
		"args": ["mpu-hook", "--socket='"$socket"'", "prestart"]}]'
	check 'the container ran to its end' container hooked
	judge hooked

	title 'mpu-runtime in front of runc, and exec'
	bundle wrapped '{}'
	runner="$work/mpu-runtime --always --socket=$socket --runtime=$runc"
	check 'the container ran to its end' container wrapped
	judge wrapped
	by_exec
	check 'the exec ran to its end' [ "$exec_status" = 0 ]
	judge exec

	title 'Result'
	cat "$work/mpud.log"
	verdict
}

judge() {
	python3 "$gpu/compare.py" show "$work/bare" "$work/$1"
	check "inside $1 are the container's own processes, and only those" \
		python3 "$gpu/compare.py" judge "$work/$1"
	check "bytes of memory in $1 are those of the bare run" \
		python3 "$gpu/compare.py" same "$work/$1" "$work/bare"
}

prepare() {
	title 'The machine'
	uname -srm
	head -n 1 /proc/driver/nvidia/version
	"$runc" --version | head -n 1
	chmod 755 "$work"
	cp "$gpu/inside.sh" "$gpu/observe.py" "$work/"
	take mpud mpu-hook mpu-runtime || return
	compile_cuda compute.cu compute &
	compile_cuda thread.cu thread || return
	wait $! || return
	cp "$work/compute" "$work/nested" && cp "$work/compute" "$work/outside"
	mkdir "$work/root" && mount --rbind / "$work/root" && mount --make-rslave "$work/root" || return
	"$work/outside" 512 "$work/ready-outside" &
	outside=$!
	"$work/mpud" --socket="$socket" 2>"$work/mpud.log" &
	mpud=$!
	for _ in $(seq 300); do
		[ -e "$work/ready-outside" ] && [ -S "$socket" ] && break
		sleep 0.1
	done
	[ -S "$socket" ] || { cat "$work/mpud.log" && return 1; }
	echo "PID $outside holds 512 MiB outside"
}

# bundle NAME ANNOTATIONS [PRESTART]: runs inside.sh, or sleeps for exec.
bundle() {
	mkdir -p "$work/$1" && chmod 777 "$work/$1"
	(cd "$work/$1" && "$runc" spec) || return
	python3 - "$work" "$1" "$2" "${3-[]}" <<-'PYTHON'
		import json, os, sys
		work, name, annotations, prestart = sys.argv[1:]
		path = f"{work}/{name}/config.json"
		config = json.load(open(path))
		args = ["/bin/sleep", "300"] if name == "exec" else [f"{work}/inside.sh", f"{work}/{name}"]
		caps = config["process"]["capabilities"]
		for kind in caps:
		    caps[kind] += ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_SETGID"]
		config["process"].update(terminal=False, args=args,
		                         env=[f"{k}={v}" for k, v in os.environ.items()] + [f"PROGRAMS={work}"])
		config["process"].pop("rlimits", None)
		config["root"] = {"path": f"{work}/root", "readonly": False}
		config["mounts"] = [{"destination": "/proc", "type": "proc", "source": "proc"}]
		config["annotations"] = json.loads(annotations)
		config["hooks"] = {"prestart": json.loads(prestart)}
		for key in ["maskedPaths", "readonlyPaths"]:
		    config["linux"].pop(key, None)
		config["linux"]["resources"] = {"devices": [{"allow": True, "access": "rwm"}]}
		json.dump(config, open(path, "w"))
	PYTHON
}

container() {
	$limit ${runner-$runc} run --bundle "$work/$1" "mpu-gpu-$1" </dev/null
}

by_exec() {
	bundle exec '{}'
	$runner run --bundle "$work/exec" mpu-gpu-exec </dev/null >/dev/null 2>&1 &
	for _ in $(seq 100); do
		"$runc" state mpu-gpu-exec 2>/dev/null | grep -q '"running"' && break
		sleep 0.1
	done
	$limit "$runc" exec --env PROGRAMS="$work" --env PATH="$PATH" \
		--env LD_LIBRARY_PATH="${LD_LIBRARY_PATH-}" mpu-gpu-exec "$work/inside.sh" "$work/exec" \
		</dev/null
	exec_status=$?
	"$runc" kill mpu-gpu-exec KILL
	sleep 1
	"$runc" delete --force mpu-gpu-exec
}

clean_up() {
	[ -z "${outside-}" ] || kill -9 "$outside" 2>/dev/null
	[ -z "${mpud-}" ] || kill "$mpud" 2>/dev/null
	[ "$failed" = 0 ] || tail -n 50 "$work"/*/*.txt
	umount --lazy --recursive "$work/root" 2>/dev/null
	rm -rf --one-file-system "$work"
}

main "$@"
