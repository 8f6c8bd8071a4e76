# Installs Debian packages from tests/packages.txt. Sourced; wants $root.

# as_root COMMAND...: as root, by sudo where the caller is somebody else.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		echo "must be root for: $*; run as root, or install sudo" >&2
		return 1
	fi
}

# packages_for NEED...: the packages listed for those needs.
packages_for() {
	local package need purpose

	while read -r package need purpose; do
		case " $* " in
		*" $need "*) echo "$package" ;;
		esac
	done < <(grep -v '^#' "$root/tests/packages.txt")
}

# missing_packages NEED...: those of them that are not installed.
missing_packages() {
	local package

	for package in $(packages_for "$@"); do
		dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null |
			grep -qx installed || echo "$package"
	done
}

# install_packages NEED...: installs what is missing; silent where nothing is. An earlier run that
# was interrupted within dpkg is completed first.
install_packages() {
	local missing

	if ! command -v dpkg-query >/dev/null; then
		echo "not a Debian system: install the equivalents of: $(packages_for "$@" | xargs)"
		return 1
	fi
	missing=$(missing_packages "$@" | xargs)
	[ -n "$missing" ] || return 0
	echo "installing: $missing"
	as_root dpkg --configure -a &&
		as_root apt-get update -q &&
		as_root env DEBIAN_FRONTEND=noninteractive \
			apt-get install -q -y --no-install-recommends $missing
}
