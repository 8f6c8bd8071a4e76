#!/bin/bash
# Shows what mpu does: installs what is missing, builds, and asks for the GPU's processes inside a
# container, first without mpu and then with it. On a machine with an NVIDIA GPU it asks nvidia-smi,
# elsewhere a simulated driver.
#
#   examples/demo.sh                      the real GPU, or simulated release 535.104.05
#   examples/demo.sh --release=580.95.05  that simulated release
#   examples/demo.sh --no-install         leaves the system's packages alone
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/tests/lib/packages.sh"
. "$root/tests/lib/build.sh"

release=
install=yes
work=
started=()

main() {
	read_options "$@"
	trap clean_up EXIT
	work=$(mktemp -d "${TMPDIR:-/tmp}/mpu-demo.XXXXXX") && chmod 755 "$work" || exit 1
	quietly 'Installing what is missing' install
	quietly 'Building' build default mpu-run gpu-hold gpu-ps simrm
	PATH=$PATH:$(build_dir default)/supervisor:$(build_dir default)/examples
	PATH=$PATH:$(build_dir default)/tests/simrm

	if [ -z "$release" ] && [ -e /proc/driver/nvidia/version ]; then
		on_the_gpu
	else
		on_the_simulated_driver "${release:-535.104.05}"
	fi
	heading 'That was' 'mpu-run --pid-ns -- COMMAND'
	echo "See README.md for what else there is."
}

read_options() {
	local option

	for option in "$@"; do
		case $option in
		--release=*) release=${option#*=} ;;
		--no-install) install=no ;;
		-h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
		*) echo "$0: unknown option $option; see --help" >&2 && exit 2 ;;
		esac
	done
}

install() {
	[ $install = no ] || install_packages build demo
}

# quietly WHAT COMMAND...: shows the output only when COMMAND fails; the demonstration ends then.
quietly() {
	local what=$1

	shift
	printf '%s ... ' "$what"
	if "$@" >"$work/log" 2>&1 </dev/null; then
		echo done
	else
		echo failed
		cat "$work/log"
		exit 1
	fi
}

bold='' plain=''
if [ -t 1 ]; then
	bold=$'\e[1m' plain=$'\e[0m'
fi

heading() {
	printf '\n%s%s: %s%s\n' "$bold" "$1" "$2" "$plain"
}

# A PID namespace with a /proc of its own, as a container has it.
container() {
	if [ "$(id -u)" = 0 ]; then
		unshare --pid --fork --mount-proc "$@"
	else
		unshare --user --map-root-user --pid --fork --mount-proc "$@"
	fi
}

on_the_simulated_driver() {
	dev=$work/dev
	mkdir "$dev"
	quietly "Simulating the driver of release $1" simrm --driver-version="$1" --accounting "$dev"
	export dev work
	cat >"$work/inside.sh" <<-'END'
		gpu-hold --dev-root="$dev" --name=train --memory=2048 --util=gr:30 >"$work/train" &
		train=$!
		gpu-hold --dev-root="$dev" --name=serve --memory=1024 --util=gr:10 >"$work/serve" &
		serve=$!
		until [ -s "$work/train" ] && [ -s "$work/serve" ]; do sleep 0.05; done
		echo "In here train is PID $train and serve is PID $serve."
		gpu-ps --dev-root="$dev"
		kill $train $serve
		rm "$work/train" "$work/serve"
	END
	gpu-hold --dev-root="$dev" --name=neighbour --memory=4096 --util=gr:60 >"$work/neighbour" &
	started+=($!)
	until [ -s "$work/neighbour" ]; do sleep 0.05; done

	heading 'On the host' "all processes of the GPU (neighbour is PID $!)"
	gpu-ps --dev-root="$dev"
	heading 'BEFORE' 'a container with two GPU processes, without mpu'
	container sh "$work/inside.sh"
	heading 'AFTER' 'the same container under mpu-run'
	mpu-run --pid-ns --dev-root="$dev" -- sh "$work/inside.sh"
}

on_the_gpu() {
	head -n 1 /proc/driver/nvidia/version
	if command -v nvcc >/dev/null; then
		quietly 'Compiling a program that uses the GPU' \
			nvcc -o "$work/compute" "$root/tests/gpu/compute.cu"
		cp "$work/compute" "$work/neighbour"
		"$work/neighbour" 512 "$work/ready" >/dev/null &
		started+=($!)
		until [ -e "$work/ready" ] || ! kill -0 $!; do sleep 0.1; done
		echo "neighbour is PID $! on the host."
	else
		echo "There is no nvcc to compile a GPU program: start one of yours to see it."
	fi
	export work
	cat >"$work/inside.sh" <<-'END'
		if [ -x "$work/compute" ]; then
			"$work/compute" 256 "$work/inside" >/dev/null &
			compute=$!
			until [ -e "$work/inside" ] || ! kill -0 $compute; do sleep 0.1; done
			echo "In here compute is PID $compute."
		fi
		nvidia-smi
		nvidia-smi pmon -c 1
		[ -z "${compute-}" ] || kill $compute
		rm -f "$work/inside"
	END
	heading 'BEFORE' 'a container, without mpu'
	container sh "$work/inside.sh"
	heading 'AFTER' 'the same container under mpu-run'
	mpu-run --pid-ns -- sh "$work/inside.sh"
}

clean_up() {
	[ ${#started[@]} = 0 ] || kill "${started[@]}" 2>/dev/null
	wait
	if [ -n "$work" ] && mountpoint -q "$work/dev"; then
		umount "$work/dev" 2>/dev/null || fusermount3 -u "$work/dev"
	fi
	[ -z "$work" ] || rm -rf "$work"
}

main "$@"
