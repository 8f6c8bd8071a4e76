#!/bin/bash
# Builds the Debian packages and tries them in a Debian 12 of their own: installed by apt, used,
# upgraded, removed and purged. Must be root.
#
#   packaging/test-deb.sh [--keep] [DIRECTORY]
#
# DIRECTORY is for the packages and the root folder (a new one, removed at the end; with --keep it
# stays). Debian comes from the mirror that this machine's apt uses. What cannot be tried here fails,
# or is said not to have been run.
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/tests/lib/results.sh"
: "${MPU_RESULTS:=/dev/null}"
export LC_ALL=C.UTF-8

keep=no
inside=no
work=
target=
failed=0
# The release that simrm plays in there.
driver=535.104.05

main() {
	read_options "$@"
	[ "$(id -u)" = 0 ] || give_up 'must be root: it makes a Debian and enters it'
	[ -w /dev/fuse ] || give_up '/dev/fuse is not usable: nothing can be simulated'
	if [ $inside = no ]; then
		# Mounts go with the namespace, before anything is removed.
		trap clean_up EXIT
		work=${work:-$(mktemp -d "${TMPDIR:-/tmp}/mpu-deb.XXXXXX")}
		unshare --mount --propagation private "$0" --inside "$work"
		exit
	fi
	mkdir -p "$work" && work=$(cd "$work" && pwd) && target=$work/root

	try 'the packages are built' build || give_up 'there is no package to try'
	try 'the same source makes the same packages' build_again
	try 'lintian finds no error' lint
	try 'a Debian 12 is made' make_root || give_up 'there is no Debian to try the packages in'
	list_files >"$work/before"

	try 'apt installs them with what they depend on' install
	list_files >"$work/installed"
	try 'programs run and say their version' versions
	try 'the sockets are enabled for system and users' sockets_enabled
	try 'manuals and completion are found' manuals
	try 'errors name cause and cure' errors
	try 'mpuctl abi answers' abi
	try 'mpu-hook installs itself for every engine and goes again' hooks
	try 'mpu-run and mpud show a container its own processes' processes
	try 'mpu-hook precreate changes an opted-in container only' precreate
	try 'the library is used by pkg-config alone' library
	try 'the static programs run without libraries' static

	try 'hooks are in place before the upgrade' in_root mpu-hook install --podman --docker
	try 'a socket is disabled before the upgrade' disable_socket
	try 'apt upgrades, and the hooks and what was disabled stay so' upgrade
	try 'removing takes the hooks away' remove
	try 'purging leaves nothing' purge
	try 'a booted systemd starts and stops the units with the package' under_systemd
	result not-run 'mpud answers calls under systemd' \
		'systemd boots in a PID namespace of its own here, where mpud refuses to start'
	exit $failed
}

read_options() {
	local option

	for option in "$@"; do
		case $option in
		--keep) keep=yes ;;
		--inside) inside=yes ;;
		-h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
		-*) echo "$0: unknown option $option; see --help" >&2 && exit 2 ;;
		*) work=$option ;;
		esac
	done
}

give_up() {
	result failed 'the Debian packages' "$1"
	exit 1
}

# try CASE COMMAND...: one case; what COMMAND said is shown where it failed.
try() {
	local case=$1 begin=$SECONDS

	shift
	if ("$@") >"$work/log" 2>&1 </dev/null; then
		result passed "$case"
		echo "passed: $case ($((SECONDS - begin)) s)"
		return 0
	fi
	failed=1
	result failed "$case" "$(tail -n 3 "$work/log" | tr -s '\n\t ' ' ')"
	sed 's/^/    /' "$work/log" | tail -n 40
	return 1
}

# expect WORDS COMMAND...: what COMMAND prints, on whatever stream, holds WORDS.
expect() {
	local words=$1 said

	shift
	said=$("$@" 2>&1)
	grep -qF -e "$words" <<<"$said" || { printf '%s\n' "no '$words' in: $said" && return 1; }
}

in_root() {
	(enter_root "$@")
}

# start FILE COMMAND...: runs COMMAND in the root folder beside us, until stop; FILE gets what it
# says.
started=()
start() {
	local file=$1

	shift
	enter_root "$@" >"$file" 2>&1 </dev/null &
	started+=($!)
}

stop() {
	[ ${#started[@]} = 0 ] && return
	kill "${started[@]}"
	wait "${started[@]}"
	started=()
}

# Takes the place of this shell.
enter_root() {
	exec timeout --kill-after=5 300 chroot "$target" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin \
		LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

build() {
	"$root/packaging/build.sh" --keep "$work/packages" &&
		cmake -G Ninja -S "$root" -B "$work/simrm" &&
		cmake --build "$work/simrm" --target simrm
}

# Elsewhere, and with another mask for new files.
build_again() {
	(umask 077 && "$root/packaging/build.sh" "$work/again/folder") &&
		compare "$work/packages" "$work/again/folder"
}

compare() {
	local package

	for package in "$1"/*.deb "$1"/*.tar.gz; do
		cmp "$package" "$2/${package##*/}" || return
	done
}

lint() {
	lintian --allow-root --fail-on error "$work/packages"/*.deb
}

# The mirror of this machine: the first line of its apt sources that has Debian's main archive.
mirror() {
	apt-get indextargets --format '$(CREATED_BY) $(REPO_URI) $(RELEASE) $(COMPONENT)' |
		awk '$1 == "Packages" && $3 ~ /^(bookworm|12)/ && $4 == "main" { print $2; exit }'
}

make_root() {
	local from
	from=$(mirror)
	# Where apt knows none, debootstrap takes the archive that it knows itself.
	debootstrap --variant=minbase bookworm "$target" ${from:+"$from"} || return
	mount --bind "$target" "$target" && mount --make-private "$target" &&
		mount -t proc proc "$target/proc" &&
		mount --rbind --make-rslave /dev "$target/dev" &&
		mount -t tmpfs tmpfs "$target/tmp" || return
	# Programs' users are made by hand here: services are not to be started.
	printf '#!/bin/sh\nexit 101\n' >"$target/usr/sbin/policy-rc.d" &&
		chmod 755 "$target/usr/sbin/policy-rc.d" || return
	# What mpu depends on stays when it goes, so it is there from the start; likewise what its
	# use here needs.
	in_root apt-get update -q && in_root apt-get install -q -y --no-install-recommends \
		$(dependencies) init-system-helpers man-db bash-completion gcc libc6-dev pkgconf \
		fuse3 libfuse3-3 python3-minimal || return
	# As the package cache and the logs change with every call of apt.
	in_root apt-get clean
}

dependencies() {
	dpkg-deb -f "$work/packages"/mpu_*.deb Depends | tr ',' '\n' | awk '{ print $1 }'
}

# All that is in the root folder but for logs and the caches of dpkg, apt, ldconfig and man.
list_files() {
	(cd "$target" && find . -xdev \( -path ./var/log -o -path ./var/cache -o -path ./tmp \
		-o -path ./var/lib/apt -o -path './var/lib/dpkg/*-old' \
		-o -path ./var/lib/dpkg/triggers -o -path ./var/lib/dpkg/lock \
		-o -path ./proc -o -path ./dev \) -prune -o -printf '%y %m %u:%g %p %l\n' | sort)
}

copy_packages() {
	mkdir -p "$target/tmp/packages" && cp "$@" "$target/tmp/packages"
}

install() {
	copy_packages "$work/packages"/*.deb &&
		in_root apt-get install -q -y --no-install-recommends \
			$(cd "$target" && ls tmp/packages/*_*-1_*.deb | sed 's#^#/#') &&
		in_root dpkg --verify mpu libnvabi0 libnvabi-dev
}

versions() {
	local program

	for program in mpu-run mpud mpuctl mpu-hook; do
		expect "$program $(version)" in_root "$program" --version || return
	done
	expect 'Usage: mpu-runtime' in_root mpu-runtime --help
}

# As dpkg has it, without Debian's release.
version() {
	in_root dpkg-query -W -f '${Version}' mpu | sed 's/-[^-]*$//'
}

sockets_enabled() {
	local manager

	for manager in system user; do
		[ -L "$target/etc/systemd/$manager/sockets.target.wants/mpud.socket" ] || {
			echo "mpud.socket is not enabled for $manager" && return 1
		}
	done
}

manuals() {
	local page

	for page in mpu-run.1 mpud.8 mpuctl.1 mpu-hook.8 mpu-runtime.8 mpu-annotations.7; do
		in_root man -w "${page#*.}" "${page%.*}" || return
	done
	expect mpu-run in_root bash -c '. /usr/share/bash-completion/bash_completion
		_completion_loader mpud; complete -p mpud && type _mpu && echo mpu-run'
}

errors() {
	expect 'no NVIDIA driver' in_root mpu-run -- true &&
		expect 'older than all that mpu knows' \
			in_root mpu-run --driver-version=304.10 -- true &&
		expect 'see mpu-run --help' in_root mpu-run --no-such-option &&
		expect 'no NVIDIA driver' in_root mpud
}

abi() {
	expect 0x2080018d in_root mpuctl abi show 580.95.05 NV2080_CTRL_CMD_GPU_GET_PIDS &&
		expect 580.95.05 in_root mpuctl abi versions
}

hooks() {
	in_root mpu-hook install --podman --docker --kubernetes --cdi --lxc &&
		grep -q '"/usr/bin/mpu-hook"' \
			"$target/usr/share/containers/oci/hooks.d/mpu-precreate.json" &&
		grep -q '/usr/bin/mpu-runtime' "$target/etc/docker/daemon.json" &&
		grep -q '/usr/bin/mpu-hook' "$target/etc/cdi/mpu.json" "$target/etc/lxc/mpu-start-host.conf" &&
		in_root mpu-hook uninstall --podman --docker --kubernetes --cdi --lxc || return
	# Folders that were made stay: they are not the hook's alone.
	list_files | diff "$work/installed" - | grep '^>' | grep -v '^> d' && return 1
	return 0
}

# The simulated driver at /tmp/gpu and mpud in the root folder, for COMMAND...
with_simrm() {
	local simrm status

	mkdir -p "$target/tmp/gpu"
	"$work/simrm/tests/simrm/simrm" --foreground --driver-version=$driver "$target/tmp/gpu" \
		>"$work/simrm.log" &
	simrm=$!
	wait_until grep -q ready "$work/simrm.log" && "$@"
	status=$?
	kill $simrm
	wait $simrm
	return $status
}

with_mpud() {
	local status

	start "$work/mpud.log" mpud --dev-root=/tmp/gpu
	wait_until grep -q 'msg="ready"' "$work/mpud.log" && "$@"
	status=$?
	stop
	[ $status = 0 ] || cat "$work/mpud.log"
	return $status
}

wait_until() {
	local turns

	for turns in {1..100}; do
		"$@" && return
		sleep 0.1
	done
	echo "did not come about: $*"
	return 1
}

precreate() {
	local plain='{"ociVersion":"1.0.2","process":{"args":["true"]},"linux":{}}'

	[ "$(in_root mpu-hook precreate <<<"$plain")" = "$plain" ] || return
	# A container that opts in is refused as long as mpud does not run, unless it says otherwise.
	expect /run/mpu/mpud.sock in_root mpu-hook precreate <<<"$(opted '')" &&
		expect '"mpu.on-missing":"ignore"' \
			in_root mpu-hook precreate <<<"$(opted ',"mpu.on-missing":"ignore"')" &&
		with_simrm with_mpud expect '"listenerPath":"/run/mpu/mpud.sock"' precreate_plain
}

opted() {
	printf '{"ociVersion":"1.0.2","annotations":{"mpu.enable":"1"%s},"linux":{}}\n' "$1"
}

precreate_plain() {
	in_root mpu-hook precreate <<<"$(opted '')" | tr -d ' \n'
}

# The README's first table, with what the package has installed: a neighbour outside, a process
# inside.
processes() {
	cat >"$target/tmp/inside.sh" <<-'END'
		PATH=$PATH:/usr/libexec/mpu/examples
		gpu-hold --dev-root=/tmp/gpu --name=train --memory=2048 >/tmp/train & train=$!
		until [ -s /tmp/train ]; do sleep 0.05; done
		gpu-ps --dev-root=/tmp/gpu
		echo "train is $train"
		kill $train
		rm /tmp/train
	END
	with_simrm shown_own --pid-ns &&
		with_simrm with_mpud shown_own --pid-ns --socket=/run/mpu/mpud.sock
}

# shown_own OPTION...: under mpu-run OPTION..., 2048 MiB of one process with a small PID, and not
# the neighbour's 4096, which are there without it.
shown_own() {
	local status=1

	start "$work/neighbour" /usr/libexec/mpu/examples/gpu-hold --dev-root=/tmp/gpu --memory=4096
	wait_until test -s "$work/neighbour" &&
		in_root sh /tmp/inside.sh >"$work/natively" &&
		in_root mpu-run --dev-root=/tmp/gpu "$@" -- sh /tmp/inside.sh >"$work/with-mpu" &&
		cat "$work/natively" "$work/with-mpu" &&
		grep -q 4096 "$work/natively" && ! grep -q 4096 "$work/with-mpu" &&
		grep -Eq " $(sed -n 's/train is //p' "$work/with-mpu") .* 2048 MiB" "$work/with-mpu" &&
		status=0
	kill "${started[-1]}"
	wait "${started[-1]}"
	unset 'started[-1]'
	return $status
}

# As on a host with no library at all.
static() {
	mkdir "$work/static" && tar -xzf "$work/packages"/*.tar.gz -C "$work/static" &&
		mv "$work/static"/mpu-*/bin "$target/tmp/static" &&
		expect 'no NVIDIA driver' in_root /tmp/static/mpu-run -- true &&
		expect 0x2080018d in_root /tmp/static/mpuctl abi lookup NV2080_CTRL_CMD_GPU_GET_PIDS &&
		! readelf -l "$target"/tmp/static/* | grep INTERP
}

library() {
	in_root sh -c 'cd /tmp && cc -Wall -Werror -o show \
		/usr/share/doc/libnvabi-dev/examples/nvabi-show.c $(pkg-config --cflags --libs nvabi)' &&
		expect pidTblCount in_root /tmp/show 580.95.05 NV2080_CTRL_CMD_GPU_GET_PIDS &&
		expect libnvabi.so.0 in_root ldd /tmp/show
}

disable_socket() {
	rm "$target/etc/systemd/system/sockets.target.wants/mpud.socket"
}

upgrade() {
	list_files >"$work/before-upgrade"
	"$root/packaging/build.sh" --only=deb --release=2 --keep "$work/packages" &&
		copy_packages "$work/packages"/*-2_*.deb &&
		in_root apt-get install -q -y --no-install-recommends \
			$(cd "$target" && ls tmp/packages/*_*-2_*.deb | sed 's#^#/#') &&
		expect -2 in_root dpkg-query -W -f '${Version}' mpu &&
		list_files | diff "$work/before-upgrade" -
}

remove() {
	in_root apt-get remove -q -y mpu libnvabi0 libnvabi-dev &&
		[ ! -e "$target/usr/share/containers/oci/hooks.d/mpu-precreate.json" ] &&
		[ ! -e "$target/etc/docker/daemon.json" ] && [ ! -e "$target/usr/bin/mpud" ] &&
		[ ! -e "$target/run/mpu" ]
}

# What the administrator has written goes too.
purge() {
	mkdir -p "$target/etc/mpu" && touch "$target/etc/mpu/allow" "$target/etc/mpu/runtime.conf" &&
		in_root apt-get purge -q -y '~c' && ! in_root dpkg-query -s mpu libnvabi0 libnvabi-dev &&
		list_files | diff "$work/before" -
}

# What a booted systemd says, from a unit of its own, which powers off at the end.
under_systemd() {
	umount -R "$target/dev" "$target/proc" && rm "$target/usr/sbin/policy-rc.d" || return
	in_root apt-get install -q -y --no-install-recommends systemd systemd-sysv dbus || return
	cp "$work/packages"/mpu_*.deb "$target/root"
	cat >"$target/root/try.sh" <<-'END'
		#!/bin/sh
		trap 'echo $? >/root/status; systemctl poweroff' EXIT
		set -ex
		export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
		dpkg -i /root/mpu_*-1_*.deb
		systemctl is-enabled mpud.socket
		systemctl is-active mpud.socket
		test -S /run/mpu/mpud.sock
		test "$(systemctl show -P NeedDaemonReload mpud.service)" = no
		# It is found and run, and says why it cannot work here.
		if systemctl start mpud.service; then exit 1; fi
		journalctl --sync
		journalctl -u mpud.service | grep 'not in the initial PID namespace'
		systemctl stop mpud.service
		systemctl reset-failed
		dpkg -i /root/mpu_*-2_*.deb
		systemctl is-active mpud.socket
		dpkg -P mpu
		if systemctl is-active mpud.socket; then exit 1; fi
		test -z "$(systemctl list-unit-files --no-legend 'mpud*')"
		test ! -e /run/mpu
	END
	chmod 755 "$target/root/try.sh"
	cat >"$target/etc/systemd/system/try.service" <<-'END'
		[Unit]
		After=dbus.service basic.target
		[Service]
		Type=oneshot
		ExecStart=/root/try.sh
		StandardOutput=file:/root/try.log
		StandardError=file:/root/try.log
		[Install]
		WantedBy=multi-user.target
	END
	in_root systemctl enable try.service &&
		timeout 120 systemd-nspawn --register=no --keep-unit --console=pipe \
			--directory="$target" --boot
	cat "$target/root/try.log" && [ "$(cat "$target/root/status")" = 0 ]
}

clean_up() {
	[ $keep = yes ] && echo "the packages and the root folder are in $work" && return
	rm -rf --one-file-system "$work"
}

main "$@"
