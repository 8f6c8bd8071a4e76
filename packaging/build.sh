#!/bin/bash
# Makes the packages: the .deb files (mpu, libnvabi0, libnvabi-dev) and a .tar.gz of static programs.
#
#   packaging/build.sh [OPTION]... DIRECTORY
#
#   --only=deb|tar.gz  one of the two
#   --release=N        the Debian release, N in 0.1.0-N (1)
#   --keep             leaves the build folders in DIRECTORY, for a faster next time
#
# The same source makes the same bytes, wherever and whenever: SOURCE_DATE_EPOCH is the time of the
# last entry of packaging/debian/changelog unless the environment has it.
set -eu
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

only=
release=1
keep=no
out=

main() {
	read_options "$@"
	: "${SOURCE_DATE_EPOCH:=$(dpkg-parsechangelog -l "$root/packaging/debian/changelog" -S Timestamp)}"
	export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8 TZ=UTC
	umask 022
	mkdir -p "$out" && out=$(cd "$out" && pwd)
	[ "$only" = tar.gz ] || make_deb
	[ "$only" = deb ] || make_tar
}

read_options() {
	local option

	for option in "$@"; do
		case $option in
		--only=deb | --only=tar.gz) only=${option#*=} ;;
		--release=[0-9]*) release=${option#*=} ;;
		--keep) keep=yes ;;
		-h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
		-*) echo "$0: unknown option $option; see --help" >&2 && exit 2 ;;
		*) out=$option ;;
		esac
	done
	[ -n "$out" ] || { echo "$0: say where the packages go; see --help" >&2 && exit 2; }
}

make_deb() {
	make_package DEB deb \
		-DMPU_DEBIAN=ON -DCMAKE_INSTALL_PREFIX=/usr -DCMAKE_BUILD_TYPE=RelWithDebInfo
}

make_tar() {
	make_package TGZ tar.gz \
		-DMPU_STATIC=ON -DCMAKE_INSTALL_PREFIX=/usr/local -DCMAKE_BUILD_TYPE=Release
}

# make_package GENERATOR EXTENSION OPTION...: configures, builds and packs. Debian's flags harden.
make_package() {
	local generator=$1 extension=$2 build=$out/build-$2

	shift 2
	env CFLAGS="$(flags CFLAGS)" CPPFLAGS="$(flags CPPFLAGS)" LDFLAGS="$(flags LDFLAGS)" \
		cmake -G Ninja -S "$root" -B "$build" -DMPU_TESTS=OFF \
		-DCMAKE_C_FLAGS="$(flags CFLAGS) $(flags CPPFLAGS)" "$@"
	cmake --build "$build"
	(cd "$build" && cpack -G "$generator" -D CPACK_DEBIAN_PACKAGE_RELEASE="$release")
	mv "$build"/*."$extension" "$out"
	[ $keep = yes ] || rm -rf "$build"
}

# Paths of this machine stay out of the programs.
flags() {
	DEB_BUILD_MAINT_OPTIONS=hardening=+bindnow dpkg-buildflags --get "$1" |
		sed "s#-ffile-prefix-map=[^ ]*#-ffile-prefix-map=$root=. -ffile-prefix-map=$out=.#"
}

main "$@"
