# Completion for bash of mpu-run, mpud, mpuctl, mpu-hook and mpu-runtime. What they take is read
# from their own --help, so that it is what the installed program takes.

# _mpu_help PROGRAM [COMMAND]: its help text.
_mpu_help() {
	"$@" --help 2>/dev/null </dev/null
}

# _mpu_commands: the first words of the indented lines of a help text on standard input.
_mpu_commands() {
	sed -n 's/^  \([a-z][A-Za-z-]*\)\( [][A-Z. a-z]*\)\{0,1\}\(  .*\)$/\1/p'
}

# _mpu_options: its options, those with a value with their "=".
_mpu_options() {
	grep -oE -- '--[a-z][a-z-]*(\[?=)?' | sed 's/\[=$//' | sort -u
}

# _mpu_values OPTION: what the help text on standard input lets OPTION be: words, or a name in
# capitals.
_mpu_values() {
	sed -n -E "s/.*$1\[?=([A-Za-z_|]+).*/\1/p" | head -n 1 | tr '|' ' '
}

# _mpu_reply WORD...: the words that go on as what was typed does.
_mpu_reply() {
	COMPREPLY=($(compgen -W "$*" -- "$cur"))
	[[ ${#COMPREPLY[@]} = 1 && ${COMPREPLY[0]} = --*= ]] && compopt -o nospace
	return 0
}

_mpu_value() {
	local values=$(_mpu_values "$1" <<<"$2")

	case $values in
	PATH | FILE) _filedir ;;
	DIR) _filedir -d ;;
	PROGRAM) COMPREPLY=($(compgen -c -- "$cur")) ;;
	GROUP) COMPREPLY=($(compgen -g -- "$cur")) ;;
	V) _mpu_reply "$(_mpu_releases)" ;;
	WORDS) _mpu_words ;;
	*) _mpu_reply ${values//[A-Z]/} ;;
	esac
}

# With commas between: what was typed of the last one goes on.
_mpu_words() {
	local before=${cur%"${cur##*,}"}

	COMPREPLY=($(compgen -P "$before" -W "compute utility graphics video display ngx compat32 all
		profiling rdma fabric-imex log strict" -- "${cur##*,}"))
	compopt -o nospace
}

_mpu_releases() {
	mpuctl abi versions 2>/dev/null | awk '{ print $1 }'
}

# The containers that mpud serves: ids as mpuctl status shows them, and names.
_mpu_containers() {
	mpuctl status 2>/dev/null | awk '/^    id +name/ { on = 1; next }
		on { print $1; if ($2 != "-") print $2 }'
}

# The index of the program's first operand, or where it would stand.
_mpu_operand() {
	local i

	for ((i = 1; i < cword; i++)); do
		case ${words[i]} in
		--) echo $((i + 1)) && return ;;
		-e) ((i++)) ;;
		-*) ;;
		*) echo $i && return ;;
		esac
	done
	echo $cword
}

_mpu_ctl() {
	local command=${words[1]} question help=$1 i

	if [ "$cword" = 1 ]; then
		_mpu_reply $(_mpu_commands <<<"$help") $(_mpu_options <<<"$help")
		return
	fi
	_mpu_commands <<<"$help" | grep -qx -e "$command" || return
	help=$(_mpu_help mpuctl "$command")
	for ((i = 2; i < cword; i++)); do
		[[ ${words[i]} = -* ]] || { question=${words[i]} && break; }
	done
	if [ "$command" = trace ] && [[ $cur != -* ]]; then
		[ -n "$question" ] || _mpu_reply $(_mpu_containers)
		return
	fi
	if [ -z "$question" ]; then
		_mpu_reply $(_mpu_commands <<<"$help") $(_mpu_options <<<"$help")
		return
	fi
	case $question-$((cword - i)) in
	show-1 | dump-1 | policy-1 | diff-[12]) _mpu_reply "$(_mpu_releases)" ;;
	policy-2) _mpu_reply compute utility graphics video profiling rdma fabric-imex all strict ;;
	checksum-1) _filedir run ;;
	*) _mpu_reply $(_mpu_options <<<"$help") ;;
	esac
}

_mpu() {
	local cur prev words cword split help operand

	_init_completion -s || return
	help=$(_mpu_help "$1")
	if $split; then
		[ "${1##*/}" != mpuctl ] || help=$(_mpu_help mpuctl "${words[1]}")
		_mpu_value "$prev" "$help"
		return
	fi
	if [ "${1##*/}" = mpuctl ]; then
		_mpu_ctl "$help"
		return
	fi
	operand=$(_mpu_operand)
	case ${1##*/}-$cur in
	mpu-run-*)
		if ((operand < cword)) || [ "$prev" = -- ]; then
			_command_offset "$operand"
			return
		fi
		[[ $cur = -* ]] || COMPREPLY=($(compgen -c -- "$cur"))
		[[ $cur != -* ]] || _mpu_reply $(_mpu_options <<<"$help") --
		;;
	mpu-runtime-*)
		((operand < cword)) || _mpu_reply $(_mpu_options <<<"$help")
		;;
	mpu-hook-[!-]* | mpu-hook-)
		if ((operand < cword)); then
			[ "${words[operand]}" != profile ] || _filedir json
		else
			_mpu_reply $(_mpu_commands <<<"$help") $(_mpu_options <<<"$help")
		fi
		;;
	*) _mpu_reply $(_mpu_options <<<"$help") ;;
	esac
} && complete -F _mpu mpu-run mpud mpuctl mpu-hook mpu-runtime
