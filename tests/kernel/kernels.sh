# Kernels from Debian packages. Sourced; wants $work, a folder that may be kept between runs.

# mirror_of SUITE: the address of the machine's own Debian mirror that would have the suite.
mirror_of() {
	local own=$(. /etc/os-release && echo "$VERSION_CODENAME")

	case $1 in *-security) own+=-security ;; esac
	apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
		awk -v own="$own" '$1 == own { print $2; exit }'
}

# apt_in SUITE PROGRAM ARGUMENT...: apt-get or apt-cache that knows of this suite alone, with
# folders of its own; "" stands for the machine's own sources.
apt_in() {
	local suite=$1 program=$2 folder=$work/apt/$1

	shift 2
	if [ -z "$suite" ]; then
		"$program" "$@"
		return
	fi
	"$program" -o Dir::Etc::SourceList="$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State::Lists="$folder/lists" -o Dir::Cache="$folder/cache" \
		-o APT::Sandbox::User= "$@"
}

# know_suite SUITE: reads the suite's list of packages.
know_suite() {
	local folder=$work/apt/$1 mirror

	[ -n "$1" ] || return 0
	mirror=$(mirror_of "$1")
	if [ -z "$mirror" ]; then
		echo "apt has no Debian mirror configured"
		return 1
	fi
	mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
	echo "deb $mirror $1 main" >"$folder/sources.list"
	apt_in "$1" apt-get -q -o APT::Update::Error-Mode=any update >"$folder/update.log" 2>&1 || {
		echo "the mirror has no suite $1, or it cannot be read (see $folder/update.log)"
		return 1
	}
}

# The packages that hold the kernel and its modules, PACKAGE itself or what it depends on.
kernel_packages() {
	local suite=$1 package=$2 depends

	depends=$(apt_in "$suite" apt-cache depends "$package" 2>/dev/null |
		awk '$1 == "Depends:" { print $2 }' |
		grep -E '^linux-(image|binary|modules)-[0-9]')
	case $package in *-[0-9]*) echo "$package" ;; esac
	for package in $depends; do
		kernel_packages "$suite" "$package"
	done
}

# fetch_kernel [SUITE/]PACKAGE: unpacks it into $work/kernels/NAME. Prints that folder, or why it
# could not be had with status 1.
fetch_kernel() {
	local suite= package=${1##*/} folder=$work/kernels/${1//\//-} packages

	case $1 in */*) suite=${1%/*} ;; esac
	know_suite "$suite" || return
	packages=$(kernel_packages "$suite" "$package" | sort -u)
	if [ -z "$packages" ]; then
		echo "no package $package${suite:+ in $suite}"
		return 1
	fi
	if [ "$packages" != "$(cat "$folder/packages" 2>/dev/null)" ]; then
		rm -rf "$folder"
		mkdir -p "$folder/deb" "$folder/tree"
		(cd "$folder/deb" && apt_in "$suite" apt-get -q download $packages) \
			>"$folder/download.log" 2>&1 || {
			echo "cannot be downloaded (see $folder/download.log)"
			return 1
		}
		for package in "$folder"/deb/*.deb; do
			dpkg-deb -x "$package" "$folder/tree" || return
		done
		rm -r "$folder/deb"
		echo "$packages" >"$folder/packages"
	fi
	echo "$folder"
}

# kernel_image FOLDER: the file that boots.
kernel_image() {
	find "$1/tree" -name 'vmlinuz*' -type f | head -n 1
}

# copy_module FOLDER NAME TARGET: the module and, before it, what it depends on, numbered in the
# order of loading. A module that is built in is none.
copy_module() {
	local file=$(find "$1/tree" -name "$2.ko*" -type f | head -n 1) number plain depends

	[ -n "$file" ] || return 0
	[ -z "$(find "$3" -name "*-$2.ko")" ] || return 0
	plain=$(mktemp) || return
	case $file in
	*.xz) xz -dc "$file" ;;
	*.zst) zstd -qdc "$file" ;;
	*) cat "$file" ;;
	esac >"$plain" || return
	depends=$(tr '\0' '\n' <"$plain" | sed -n 's/^depends=//p' | tr ',' ' ')
	for module in $depends; do
		copy_module "$1" "$module" "$3" || return
	done
	number=$(find "$3" -name '*.ko' | wc -l)
	mv "$plain" "$3/$number-$2.ko"
}
