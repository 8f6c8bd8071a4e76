# Builds a preset of CMakePresets.json. Sourced; wants $root.

# build_dir PRESET: where that preset is built.
build_dir() {
	case $1 in
	default) echo "$root/build" ;;
	*) echo "$root/build-$1" ;;
	esac
}

# build PRESET [TARGET...]: configures and builds. A build directory that an interrupted run or
# another machine left unusable is thrown away and made anew, once.
build() {
	local preset=$1 directory

	shift
	directory=$(build_dir "$preset")
	configure_and_build "$preset" "$@" && return
	[ -f "$directory/.mpu-configured" ] && return 1
	echo "starting anew in $directory"
	rm -rf "$directory"
	configure_and_build "$preset" "$@"
}

configure_and_build() {
	local preset=$1 directory

	shift
	directory=$(build_dir "$preset")
	rm -f "$directory/.mpu-configured"
	(cd "$root" && cmake --preset "$preset") || return
	touch "$directory/.mpu-configured"
	(cd "$root" && cmake --build --preset "$preset" ${1:+--target} "$@")
}
