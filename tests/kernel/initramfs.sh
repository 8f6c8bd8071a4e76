# The virtual machine's files. Sourced; wants $root, $build and $here.

programs='mpu-run mpud mpu-hook mpu-runtime gpu-hold gpu-ps simrm kernel-facilities'

# program NAME: where the build has it.
program() {
	find "$build" -name "$1" -type f -perm -u+x | head -n 1
}

# copy_programs TARGET NAME...: from the build, which links statically.
copy_programs() {
	local target=$1 name file

	shift
	for name in "$@"; do
		file=$(program "$name")
		if [ -z "$file" ]; then
			echo "$build has no $name" >&2
			return 1
		fi
		cp "$file" "$target/$name" || return
	done
}

# copy_with_libraries PROGRAM TREE: a program of this machine with what it loads.
copy_with_libraries() {
	local file=$(command -v "$1") library

	[ -n "$file" ] || { echo "this machine has no $1" >&2; return 1; }
	cp -L "$file" "$2/bin/" || return
	for library in $(ldd "$file" | grep -o '/[^ ]*'); do
		mkdir -p "$2/$(dirname "$library")"
		cp -L "$library" "$2/$library" || return
	done
}

# make_bundle TREE: the container's bundle, busybox with the two clients.
make_bundle() {
	local bundle=$1/bundle applet

	mkdir -p "$bundle"/rootfs/{bin,proc,dev,sys,tmp}
	"$here/bundle.py" >"$bundle/config.json" || return
	cp /bin/busybox "$here/guest/look" "$bundle/rootfs/bin/"
	for applet in sh awk cat cmp cut grep kill mktemp rm sed seq sort tr usleep; do
		ln -s busybox "$bundle/rootfs/bin/$applet"
	done
	copy_programs "$bundle/rootfs/bin" gpu-hold gpu-ps
}

# make_tree TREE: all but the kernel's modules.
make_tree() {
	mkdir -p "$1"/{bin,lib/simrm}
	cp /bin/busybox "$here/guest/look" "$1/bin/" &&
		cp "$here/guest/init" "$here/guest/checks.sh" "$1/" &&
		cp "$root"/tests/data/{pid-semantics,driver-tree}.csv "$1/lib/simrm/" &&
		copy_programs "$1/bin" $programs &&
		copy_with_libraries runc "$1" &&
		copy_with_libraries setpriv "$1" &&
		make_bundle "$1"
}

# make_initramfs KERNEL-FOLDER TREE FILE: the tree with the kernel's modules.
make_initramfs() {
	rm -rf "$2/modules"
	mkdir -p "$2/modules"
	copy_module "$1" cuse "$2/modules" || return
	(cd "$2" && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 >"$3"
}
