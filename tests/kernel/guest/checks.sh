# The checks inside the virtual machine. Lines to the second serial port, fields by tabs:
#   begin NAME | passed NAME SECONDS | failed NAME SECONDS WHY | fact NAME VALUE | end
results=/dev/ttyS1
versions='535.104.12 550.54.14'
log=/tmp/check.log
neighbour_pid=

say() {
	local IFS='	'
	echo "$*" >$results
}

uptime_s() {
	cut -d ' ' -f 1 /proc/uptime
}

# check NAME COMMAND...: its output is shown when it fails.
check() {
	local name=$1 status started=$(uptime_s) took

	shift
	say begin "$name"
	"$@" >$log 2>&1
	status=$?
	took=$(echo "$(uptime_s) $started" | awk '{ printf "%.1f", $1 - $2 }')
	if [ $status = 0 ]; then
		say passed "$name" "$took"
	else
		say failed "$name" "$took" "exit status $status: $(tail -c 1500 $log | tr '\n\t' '; ')"
	fi
	echo "=== $name: $status"
	cat $log
}

# wait_until COMMAND...: at most 20 seconds.
wait_until() {
	local i=0

	until "$@" >/dev/null 2>&1; do
		i=$((i + 1))
		[ $i -lt 400 ] || { echo "waited in vain for: $*"; return 1; }
		usleep 50000
	done
}

# --- the driver

start_driver() {
	mkdir -p /gpu
	# What the last one said is not what this one says.
	rm -f /tmp/simrm.out /tmp/neighbour.out
	simrm --cuse --driver-version="$1" --data=/lib/simrm --foreground /gpu >/tmp/simrm.out \
		2>/tmp/simrm.log &
	simrm_pid=$!
	wait_until grep -q ready /tmp/simrm.out || { cat /tmp/simrm.log; return 1; }
	# For the clients, which would read it in /proc; mpu is told by its option.
	ln -sf /gpu/version /dev/version
	gpu-hold --name=neighbour --memory=64 --util=gr:30 >/tmp/neighbour.out &
	neighbour_pid=$!
	wait_until grep -q ready /tmp/neighbour.out
}

devices_are_the_drivers() {
	local name numbers

	for name in nvidiactl:c3:ff nvidia0:c3:0; do
		numbers=$(stat -c '%F %t:%T %a' /dev/${name%%:*})
		echo "$name $numbers"
		[ "$numbers" = "character special file ${name#*:} 666" ] || return 1
	done
	grep -w nvidia-uvm /proc/devices
}

second_simrm_is_refused() {
	mkdir -p /tmp/second
	simrm --cuse --driver-version="$version" --data=/lib/simrm --foreground /tmp/second >$log.says 2>&1
	[ $? = 1 ] && grep 'are its numbers taken' $log.says && devices_are_the_drivers
}

driver_ended() {
	local closed

	kill $neighbour_pid
	wait $neighbour_pid
	wait_until files_are_closed
	closed=$?
	[ $closed = 0 ] || cat /gpu/simrm-state
	kill $simrm_pid
	wait $simrm_pid || return 1
	[ $closed = 0 ] && [ ! -e /dev/nvidiactl ] && [ ! -e /dev/nvidia0 ]
}

files_are_closed() {
	tr ',{}' '\n\n\n' </gpu/simrm-state | awk -F : '
		/"opens"/ { opens = $2 }
		/"releases"/ { releases = $2 }
		END { exit !(opens > 0 && opens == releases) }'
}

# --- what is seen

# in_namespace COMMAND...: in a PID namespace of its own, without mpu.
in_namespace() {
	unshare -p -f --mount-proc "$@"
}

# What the driver itself tells: the neighbour's number as the host has it, which no process of the
# namespace bears.
natively_wrong() {
	in_namespace look >$log.look
	[ $? = 1 ] || { cat $log.look; return 2; }
	cat $log.look
	say fact "natively with $version" "$(sed -n 's/^told: //p' $log.look)"
	grep '^told: ' $log.look | grep -qE "(: |;)$neighbour_pid (30 %|.* MiB)"
}

exact() {
	"$@" >$log.look || { cat $log.look; return 1; }
	cat $log.look
	grep -q '^told: ' $log.look
}

run() {
	mpu-run --driver-version="$version" "$@"
}

# The shell would take busybox's own setpriv, which knows less.
as_somebody() {
	(cd /tmp && exec /bin/setpriv --reuid=1000 --regid=1000 --clear-groups "$@")
}

# Asked first: the driver goes on telling of those that have ended, and they are the host's.
same_numbers_outside() {
	exact run -- look "$neighbour_pid:neighbour:64:30"
}

under_mpu_run() {
	exact run --pid-ns -- look || return
	say fact "mpu-run --pid-ns with $version" "$(sed -n 's/^told: //p' $log.look)"
}

as_ordinary_user() {
	exact as_somebody mpu-run --driver-version="$version" --pid-ns -- look
}

wrong_with_policy_off() {
	run --policy=off --pid-ns -- look >$log.look
	[ $? = 1 ] && grep '^told: ' $log.look
}

exit_status_is_passed_on() {
	run --pid-ns -- sh -c 'exit 42'
	[ $? = 42 ] || return 1
	run --pid-ns -- sh -c 'kill -TERM $$'
	[ $? = 143 ]
}

# Killed itself, mpu-run takes the command along, grandchildren and other sessions too.
killed_takes_all_along() {
	mpu-run --driver-version="$version" --pid-ns -- \
		sh -c 'setsid gpu-hold --name=left & gpu-hold --name=left' >/tmp/left.out &
	wait_until both_are_ready || return
	kill -KILL $!
	wait $!
	wait_until nothing_runs
}

both_are_ready() {
	[ "$(grep -c ready /tmp/left.out)" = 2 ]
}

# --- containers

start_mpud() {
	mpud --driver-version="$version" >/tmp/mpud.log 2>&1 &
	mpud_pid=$!
	wait_until grep -q 'msg="ready"' /tmp/mpud.log || { cat /tmp/mpud.log; return 1; }
}

# bundle PRECREATE|ANNOTATED|PLAIN COMMAND: a fresh bundle in /tmp/bundle.
bundle() {
	rm -rf /tmp/bundle
	cp -a /bundle /tmp/bundle
	echo "$2" >/tmp/bundle/rootfs/command
	[ "$1" = PLAIN ] || sed -i '1s/{/{ "annotations": { "mpu.enable": "1" },/' \
		/tmp/bundle/config.json
	[ "$1" = PRECREATE ] || return 0
	mpu-hook --runtime=runc precreate </tmp/bundle/config.json >/tmp/config.json || return
	cmp -s /tmp/config.json /tmp/bundle/config.json && { echo 'precreate changed nothing'; return 1; }
	cp /tmp/config.json /tmp/bundle/config.json
}

container_natively_wrong() {
	bundle PLAIN 'exec look' || return
	runc run --bundle /tmp/bundle plain >$log.look
	[ $? = 1 ] || { cat $log.look; return 2; }
	cat $log.look
	grep '^told: ' $log.look | grep -qE "(: |;)$neighbour_pid (30 %|.* MiB)"
}

container_command() {
	bundle PRECREATE 'exec look' || return
	exact runc run --bundle /tmp/bundle patched || { cat /tmp/mpud.log; return 1; }
	say fact "runc with $version" "$(sed -n 's/^told: //p' $log.look)"
}

container_by_mpu_runtime() {
	bundle ANNOTATED 'exec look' || return
	exact mpu-runtime --runtime=runc run --bundle /tmp/bundle wrapped ||
		{ cat /tmp/mpud.log; return 1; }
}

container_exec() {
	local status

	bundle PRECREATE 'exec gpu-hold --name=first --memory=80 --util=gr:20' || return
	runc run --bundle /tmp/bundle served >/tmp/served.out 2>&1 &
	wait_until grep -q ready /tmp/served.out || { cat /tmp/served.out; return 1; }
	exact runc exec served /bin/look 1:first:80:20
	status=$?
	runc kill served KILL
	wait $!
	wait_until sh -c '! runc state served'
	return $status
}

mpud_ended() {
	kill $mpud_pid
	wait $mpud_pid || return 1
	[ ! -e /run/mpu/mpud.sock ]
}

# --- nothing is left

nothing_runs() {
	! ps -o comm | grep -E '^(mpu|gpu-ps|runc|left|train|serve|look|first)'
}

mounts_and_cgroups() {
	cut -d ' ' -f 2,3 /proc/mounts | sort
	find /sys/fs/cgroup -type d | sort
	ls /dev/shm /run
}

nothing_left() {
	wait_until nothing_runs || { ps -o pid,comm; return 1; }
	mounts_and_cgroups >/tmp/left.now
	cmp -s /tmp/left.before /tmp/left.now || { cat /tmp/left.before /tmp/left.now; return 1; }
}

# --- facilities

# facility_since NAME RELEASE: found exactly from that kernel release on.
facility_since() {
	local found=$(awk -v name="$1" '$1 == name { print $2 }' /tmp/facilities)
	local should=$(kernel_is_at_least "$2" && echo yes || echo no)

	echo "$1: found $found, Linux $(uname -r) should say $should"
	[ "$found" = "$should" ]
}

kernel_is_at_least() {
	uname -r | awk -v wanted="$1" '{
		split($1, is, "."); split(wanted, at, ".")
		exit !(is[1] + 0 > at[1] + 0 || (is[1] + 0 == at[1] + 0 && is[2] + 0 >= at[2] + 0))
	}'
}

# says WORDS COMMAND...: COMMAND fails with 125 and these words.
says() {
	local words=$1 status

	shift
	"$@" >$log.says 2>&1
	status=$?
	cat $log.says
	[ $status = 125 ] && grep -qF "$words" $log.says
}

# lookup_asked_for FACILITY OPTION WORDS: with the facility it works, without it is refused.
lookup_asked_for() {
	if grep -q "^$1 yes" /tmp/facilities; then
		exact run "$2" --pid-ns -- look
	else
		says "$3" run "$2" --pid-ns -- look
	fi
}

slow_ways_alone() {
	exact run --pid-lookup=nspid --fd-lookup=process --pid-ns -- look
}

without_user_namespaces() {
	local before=$(cat /proc/sys/user/max_user_namespaces) status

	echo 0 >/proc/sys/user/max_user_namespaces
	says 'cannot make a user namespace for --pid-ns' \
		as_somebody mpu-run --driver-version="$version" --pid-ns -- true
	status=$?
	echo "$before" >/proc/sys/user/max_user_namespaces
	return $status
}

no_version_without_the_module() {
	says 'no NVIDIA driver: /proc/driver/nvidia/version does not exist' mpu-run -- true
}

# --- all

facilities() {
	local name found

	say fact kernel "$(uname -r) $(uname -v)"
	kernel-facilities >/tmp/facilities || return
	cat /tmp/facilities
	while read -r name found; do
		say fact "$name" "$found"
	done </tmp/facilities
}

with_driver() {
	version=$1
	if ! start_driver "$version" >$log 2>&1; then
		say failed "$version: simrm --cuse starts" 0 "$(tail -c 1500 $log | tr '\n\t' '; ')"
		return
	fi
	mounts_and_cgroups >/tmp/left.before
	check "$version: nvidiactl is 195:255, nvidia0 195:0" devices_are_the_drivers
	check "$version: a second simrm finds the numbers taken" second_simrm_is_refused
	check "$version: mpu-run in the first namespace: the host's, exactly" same_numbers_outside
	check "$version: a PID namespace sees wrong PIDs without mpu" natively_wrong
	check "$version: mpu-run --pid-ns: its own, exactly" under_mpu_run
	check "$version: the same with --policy=always" exact run --policy=always --pid-ns -- look
	check "$version: with --policy=off wrong again" wrong_with_policy_off
	check "$version: 10 times, stopped and continued within the calls" \
		exact run --policy=always --pid-ns -- env LOOK_DISTURBED=10 look
	check "$version: the same for an ordinary user, in a user namespace" as_ordinary_user
	check "$version: the same by NSpid, leader's descriptors" slow_ways_alone
	check "$version: exit status and signals come out" exit_status_is_passed_on
	check "$version: mpu-run killed takes all along" killed_takes_all_along
	check "$version: a runc container sees wrong PIDs without mpu" container_natively_wrong
	if start_mpud >$log 2>&1; then
		check "$version: runc with mpu-hook precreate: its own, exactly" container_command
		check "$version: runc exec: its own, exactly" container_exec
		check "$version: mpu-runtime: its own, exactly" container_by_mpu_runtime
		check "$version: mpu-run --socket: its own, exactly, by mpud" \
			exact mpu-run --socket=/run/mpu/mpud.sock --pid-ns -- look
		check "$version: mpud ends cleanly" mpud_ended
	else
		say failed "$version: mpud starts" 0 "$(tail -c 1500 $log | tr '\n\t' '; ')"
	fi
	[ "$version" != "${versions##* }" ] || lacking
	check "$version: no process, mount, cgroup or socket is left" nothing_left
	check "$version: all device files are closed, simrm ends, the devices go" driver_ended
}

# What a kernel lacks is told, or made up for.
lacking() {
	check 'mpu-run --pid-lookup=nsfs: works, or says that 6.11 has it' \
		lookup_asked_for nsfs-pids --pid-lookup=nsfs 'Linux 6.11'
	check 'mpu-run --fd-lookup=thread: works, or says that 6.9 has it' \
		lookup_asked_for pidfd-thread --fd-lookup=thread 'Linux 6.9'
	check 'user namespaces forbidden: the message says so' without_user_namespaces
	check 'no /proc/driver/nvidia/version: the message says so' no_version_without_the_module
	check 'within a PID namespace: the message says so' \
		says 'not in the initial PID namespace' \
		in_namespace mpu-run --driver-version="$version" -- true
	check 'mpu-run within mpu-run: the message says so' \
		says 'already has a listener above it' \
		run -- mpu-run --driver-version="$version" -- true
}

check 'mpu finds the facilities of the kernel' facilities
check 'WAIT_KILLABLE_RECV from 5.19 on' facility_since wait-killable 5.19
check 'sync wake-up from 6.6 on' facility_since sync-wake-up 6.6
check 'pidfds of threads from 6.9 on' facility_since pidfd-thread 6.9
check 'PIDs by nsfs from 6.11 on' facility_since nsfs-pids 6.11
mkdir -p /run/mpu /run/runc
for one in $versions; do
	with_driver "$one"
done
say end
