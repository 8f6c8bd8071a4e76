#!/bin/bash
# Confined programs on a machine with an NVIDIA GPU: what runs, with results as in bare runs; who is seen
# inside and on the host; what happens when proxies and mpud's workers are killed; what is left behind.
# Needs root, the static programs, nvcc, Python with PyTorch, and for the kills runc.
#
#   tests/gpu/confine.sh [OPTIONS] [BUILD-DIRECTORY [RUNC]]     build-static and runc, where none is named
#
#   --caps=WORDS   what is allowed (compute,utility)
#   --only=WORDS   of parts, views, who, kills, strict, rdma, trace, gpus (without, all but gpus)
#   --rounds=N     of the kills (24)
#
# Exit status 0 only when no check failed. Costs: tests/gpu/bench.sh --confine.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/checks.sh"
build= runc= options=()
work=$(mktemp -d /tmp/mpu-confine.XXXXXX)
trap 'rm -rf "$work"' EXIT

for argument; do
	case $argument in
	--caps=* | --only=* | --rounds=*) options+=("$argument") ;;
	-h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
	-*) echo "$0: unknown option $argument; see --help" >&2 && exit 2 ;;
	*) if [ -z "$build" ]; then build=$argument; else runc=$argument; fi ;;
	esac
done
build=$(cd "${build:-$here/../../build-static}" && pwd) || exit 1
take mpu-run mpud mpuctl mpu-runtime || exit 1
chmod 755 "$work"
compile_cuda confine.cu gpu-confine -lcublas -lcuda || exit 1
compile_cuda compute.cu compute || exit 1
uname -srm
head -n 1 /proc/driver/nvidia/version
nvidia-smi -L
"$work/mpu-run" --version
python3 "$here/confine.py" "${options[@]}" "$work" "${runc:-runc}"
