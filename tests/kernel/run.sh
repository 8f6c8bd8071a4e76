#!/bin/bash
# mpu on real kernels: boots each in a virtual machine, with the simulated driver as real character
# devices, and runs tests/kernel/guest/checks.sh there.
#
#   tests/kernel/run.sh [OPTION...] [[SUITE/]PACKAGE...]
#
#   PACKAGE          a kernel package of Debian, such as bookworm/linux-image-amd64; without SUITE,
#                    of the machine's own sources. Default: Debian 11's, 12's and newer ones
#   --build=DIR      where the programs are, linked statically (else built in build-kernel/build)
#   --seconds=N      the most that one kernel may take (300)
#   --summary=FILE   writes the results as a document
#
# Exit status 0 when no check failed. A kernel that cannot be had is said and left out; it is a
# failure where it was named, or where none is left. Packages, logs and the programs are kept in
# build-kernel/. Needs qemu-system-x86, runc, busybox-static, xz-utils; KVM is used where it works.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$root/tests/lib/results.sh"
. "$here/kernels.sh"
. "$here/initramfs.sh"
. "$here/summary.sh"
export LC_ALL=C.UTF-8

work=$root/build-kernel
build=
limit=300
summary=
kernels=()
named=yes
default_kernels=(bullseye/linux-image-amd64 bookworm/linux-image-amd64
	bookworm-backports/linux-image-amd64 trixie-backports/linux-image-amd64)

main() {
	local kernel ran=0

	read_options "$@"
	mkdir -p "$work" || exit 2
	export MPU_RESULTS=$work/results
	: >"$MPU_RESULTS"
	need_programs
	[ -n "$build" ] || make_build
	rm -rf "$work/tree"
	make_tree "$work/tree" || exit 2
	for kernel in "${kernels[@]}"; do
		run_kernel "$kernel" && ran=$((ran + 1))
	done
	[ "$ran" -gt 0 ] || result failed 'a kernel ran' 'none could be had'
	printf '\n%s kernels ran: %s checks passed, %s failed, %s not run\n' "$ran" \
		$(for outcome in passed failed not-run; do
			count_results "$MPU_RESULTS" $outcome
		done)
	[ -z "$summary" ] || write_summary >"$summary"
	! grep -q '^failed' "$MPU_RESULTS"
}

read_options() {
	local option

	for option in "$@"; do
		case $option in
		--build=*) build=$(realpath "${option#*=}") ;;
		--seconds=*) limit=${option#*=} ;;
		--summary=*) summary=${option#*=} ;;
		-h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
		-*) echo "$0: unknown option $option; see --help" >&2 && exit 2 ;;
		*) kernels+=("$option") ;;
		esac
	done
	if [ ${#kernels[@]} = 0 ]; then
		kernels=("${default_kernels[@]}")
		named=no
	fi
}

need_programs() {
	local missing= program

	for program in qemu-system-x86_64:qemu-system-x86 runc:runc busybox:busybox-static \
		xz:xz-utils dpkg-deb:dpkg apt-get:apt python3:python3; do
		command -v "${program%%:*}" >/dev/null || missing+=" ${program#*:}"
	done
	if [ -n "$missing" ]; then
		result failed 'the programs that it needs are there' "install:$missing"
		exit 1
	fi
}

make_build() {
	build=$work/build
	echo "building in $build"
	if ! cmake -S "$root" -B "$build" -G Ninja -DMPU_STATIC=ON -DCMAKE_BUILD_TYPE=Release \
		>"$work/build.log" 2>&1 ||
		! cmake --build "$build" --target $programs >>"$work/build.log" 2>&1; then
		result failed 'the programs can be built' "see $work/build.log"
		exit 1
	fi
}

# A processor without the instructions for it has no KVM that works, whatever /dev/kvm says. One
# thread emulates all processors: of several, QEMU 7.2 lets one miss what another patches in the
# kernel's code (an oops, "int3", where the code shown has a nop).
accelerator() {
	if [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; then
		echo kvm
	else
		echo tcg,thread=single
	fi
}

# run_kernel [SUITE/]PACKAGE: status 0 when it ran, whatever its checks said.
run_kernel() {
	local kernel=$1 folder status took

	printf '\n--- %s\n' "$kernel"
	if ! folder=$(fetch_kernel "$kernel"); then
		result "$([ $named = yes ] && echo failed || echo not-run)" "$kernel" \
			"COULD NOT BE HAD: $folder"
		return 1
	fi
	if ! make_initramfs "$folder" "$work/tree" "$folder/initramfs"; then
		result failed "$kernel" 'its initramfs could not be made'
		return 1
	fi
	boot "$folder"
	status=$?
	report "$kernel" "$folder/lines" "$status" "$folder/console"
}

# boot FOLDER: the results to FOLDER/lines, all else that is said to FOLDER/console.
boot() {
	local started=$SECONDS status

	: >"$1/lines"
	timeout "$limit" qemu-system-x86_64 -accel "$(accelerator)" -cpu max -smp 2 -m 1024 \
		-nodefaults -display none -no-reboot \
		-serial "file:$1/console" -serial "file:$1/lines" \
		-kernel "$(kernel_image "$1")" -initrd "$1/initramfs" \
		-append 'console=ttyS0 quiet panic=-1 oops=panic' >"$1/qemu.log" 2>&1 </dev/null
	status=$?
	echo "$((SECONDS - started))" >"$1/seconds"
	return $status
}

# report KERNEL LINES STATUS CONSOLE: one line a check, and how the machine ended.
report() {
	local kernel=$1 kind name took why last=

	while IFS=$'\t' read -r kind name took why; do
		case $kind in
		begin) last=$name ;;
		fact) printf '    %-32s %s\n' "$name" "$took" ;;
		passed | failed)
			printf '%-7s %-72s %5s s\n' "$kind" "$name" "$took"
			result "$kind" "$kernel: $name" "$why" 2>/dev/null
			[ "$kind" = passed ] || printf '        %s\n' "$why"
			;;
		esac
	done < <(tr -d '\r' <"$2")
	grep -q '^end' "$2" || result failed "$kernel: runs to the end" \
		"$(how_it_ended "$3" "$4"), in \"$last\"; see $4"
	return 0
}

how_it_ended() {
	local panic=$(grep -aoE '(Kernel panic|Oops|BUG:).*' "$2" | head -n 1 | tr -d '\r')

	if [ -n "$panic" ]; then
		echo "$panic"
	elif [ "$1" = 124 ]; then
		echo "did not end within $limit s"
	else
		echo "the virtual machine ended with status $1 before its checks had"
	fi
}

main "$@"
