#!/bin/bash
# A runc container on a machine with an NVIDIA GPU, without mpu and with it: nvidia-smi and NVML
# inside, and nvidia-smi through runc exec. Needs the static programs, runc, a shell, Python with
# pynvml, nvcc and root. Takes about a minute.
#
#   tests/gpu/run-runc-on-gpu.sh [BUILD-DIRECTORY]     build-static, where none is named
#
# RUNC names runc, where it is not in PATH. Prints everything; exit status 0 only when no check failed.
set -u
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$(cd "${1:-$HERE/../../build-static}" && pwd) || exit 1
runc=${RUNC:-runc}
work=$(mktemp -d /tmp/mpu-runc.XXXXXX)
chmod 755 "$work"
passed=0 failed=0

main() {
	trap clean_up EXIT
	"$runc" --version | head -n 1 || exit 1
	programs || exit 1
	start_outside || exit 1
	"$work/mpud" --socket="$work/mpud.sock" 2>"$work/mpud.log" &
	mpud=$!

	bundle plain && bundle supervised || exit 1
	"$work/mpu-hook" --always --socket="$work/mpud.sock" --runtime="$runc" precreate \
		<"$work/supervised/config.json" >"$work/changed.json" || exit 1
	mv "$work/changed.json" "$work/supervised/config.json"

	echo; echo '=== Without mpu'
	container plain
	python3 "$HERE/compare.py" record "$work/out-plain"
	echo; echo '=== With mpu'
	container supervised
	check 'the container sees its own processes, and only those' \
		python3 "$HERE/compare.py" judge "$work/out-supervised"
	check 'bytes of memory are those without mpu' \
		python3 "$HERE/compare.py" same "$work/out-supervised" "$work/out-plain"
	check 'runc exec sees what the container sees' exec_agrees
	python3 "$HERE/compare.py" show "$work/out-plain" "$work/out-supervised"

	echo; cat "$work/mpud.log"
	echo "$passed checks passed, $failed failed"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

check() {
	local what=$1

	shift
	if "$@"; then
		passed=$((passed + 1))
		echo "PASS: $what"
	else
		failed=$((failed + 1))
		echo "FAIL: $what"
	fi
}

programs() {
	local program capability

	for program in mpud mpu-hook; do
		install -m 755 "$(find "$build" -type f -name "$program" | head -n 1)" "$work/" || return
	done
	cp "$HERE/inside.sh" "$HERE/observe.py" "$work/"
	capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
	nvcc -O2 -arch="sm_$capability" -o "$work/compute" "$HERE/compute.cu" &
	nvcc -O2 -arch="sm_$capability" -o "$work/thread" "$HERE/thread.cu" || return
	wait $! || return
	cp "$work/compute" "$work/nested" && cp "$work/compute" "$work/outside"
}

start_outside() {
	"$work/outside" 512 "$work/ready-outside" &
	outside=$!
	for _ in $(seq 300); do
		[ -e "$work/ready-outside" ] && return
		sleep 0.1
	done
	echo 'the process outside did not start'
	return 1
}

# bundle NAME: the host's own file system as root, its devices, and namespaces of its own. No
# seccomp section, as with --security-opt seccomp=unconfined.
bundle() {
	local name=$1

	mkdir -p "$work/$name/rootfs" "$work/out-$name" && touch "$work/out-$name/stay"
	mount --rbind / "$work/$name/rootfs" && mount --make-rprivate "$work/$name/rootfs" || return
	python3 - "$work" "$name" >"$work/$name/config.json" <<'END'
import json, os, sys
work, name = sys.argv[1:]
mask = int(next(line for line in open("/proc/self/status") if line.startswith("CapEff")).split()[1], 16)
names = """CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
SYS_PTRACE SYS_PACCT SYS_ADMIN""".split()
caps = ["CAP_" + cap for bit, cap in enumerate(names) if mask >> bit & 1]
json.dump({
    "ociVersion": "1.0.2",
    "root": {"path": "rootfs"},
    "process": {
        "user": {"uid": 0, "gid": 0},
        "args": ["/bin/sh", f"{work}/inside.sh", f"{work}/out-{name}"],
        "env": [f"{key}={value}" for key, value in os.environ.items()] + [f"PROGRAMS={work}"],
        "cwd": "/",
        "capabilities": {kind: caps for kind in ["bounding", "effective", "permitted"]},
    },
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind", "rw"]},
    ],
    "linux": {
        "namespaces": [{"type": kind} for kind in ["pid", "mount", "ipc", "uts"]],
        "resources": {"devices": [{"allow": True, "access": "rwm"}]},
    },
}, sys.stdout, indent=1)
END
}

# container NAME: runs to its end, with a look through runc exec on the way.
container() {
	local name=$1 id=mpu-gpu-$$-$1 running

	timeout -k 5 40 "$runc" --root "$work/state" run --bundle "$work/$name" "$id" </dev/null &
	running=$!
	for _ in $(seq 400); do
		[ -e "$work/out-$name/observed" ] && break
		kill -0 $running 2>/dev/null || break
		sleep 0.1
	done
	timeout -k 5 20 "$runc" --root "$work/state" exec "$id" nvidia-smi \
		--query-compute-apps=pid,process_name,used_memory --format=csv >"$work/out-$name/exec.txt"
	touch "$work/out-$name/done"
	check "the container $name ran to its end" wait $running
}

exec_agrees() {
	cat "$work/out-supervised/exec.txt"
	diff <(sort "$work/out-supervised/apps.txt") <(sort "$work/out-supervised/exec.txt")
}

# The root file systems are the host's own: nothing may be deleted while one is mounted. rmdir
# refuses what is.
clean_up() {
	kill -9 ${outside-} ${mpud-} 2>/dev/null
	umount -l "$work"/*/rootfs 2>/dev/null
	rmdir "$work"/*/rootfs && rm -rf "$work"
}

main "$@"
