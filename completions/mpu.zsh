#compdef mpu-run mpud mpuctl mpu-hook mpu-runtime
# Completion for zsh. What the programs take is read from their own --help, so that it is what the
# installed program takes.

# The options of the help text $1 as _arguments wants them, into specs.
_mpu_options() {
	local line option values action
	local -a match mbegin mend
	local -A seen

	specs=()
	for line in ${(f)1}; do
		while [[ $line =~ '(--[a-z][a-z-]*)(\[?=([A-Za-z_|]+))?' ]]; do
			option=$match[1] values=$match[3]
			line=${line#*$MATCH}
			[[ -z $seen[$option] ]] || continue
			seen[$option]=1
			case $values in
			'') specs+=("$option") && continue ;;
			PATH | FILE) action=_files ;;
			DIR) action='_files -/' ;;
			PROGRAM) action=_command_names ;;
			GROUP) action=_groups ;;
			V) action=_mpu_releases ;;
			WORDS) action=_mpu_words ;;
			*[A-Z]*) action= ;;
			*) action="(${values//|/ })" ;;
			esac
			specs+=("$option=-:${values:l}:$action")
		done
	done
}

# The commands of the help text $1, into commands.
_mpu_commands() {
	local line
	local -a match mbegin mend

	commands=()
	for line in ${(f)1}; do
		[[ $line =~ '^  ([a-z][A-Za-z-]*)( [][A-Z. a-z]*)?  +([^ ].*)$' ]] || continue
		commands+=("$match[1]:$match[3]")
	done
}

_mpu_words() {
	local -a words=(compute utility graphics video display ngx compat32 all profiling rdma
		fabric-imex log strict)

	compset -P '*,'
	compadd -qS , -- $words
}

_mpu_releases() {
	local -a releases=(${(f)"$(_call_program releases mpuctl abi versions 2>/dev/null)"})

	compadd -- ${releases%% *}
}

# The containers that mpud serves: ids as mpuctl status shows them, and names.
_mpu_containers() {
	compadd -- $(_call_program containers mpuctl status 2>/dev/null |
		awk '/^    id +name/ { on = 1; next } on { print $1; if ($2 != "-") print $2 }')
}

_mpu_ctl() {
	local help=$1

	if ((CURRENT == 2)); then
		_mpu_commands $help
		_mpu_options $help
		_describe command commands
		_arguments $specs
		return
	fi
	_mpu_commands $help
	((${commands[(I)$words[2]:*]})) || return 1
	help=$(mpuctl $words[2] --help 2>/dev/null)
	_mpu_commands $help
	_mpu_options $help
	shift words
	((CURRENT--))
	local -a operands=(${words[2,CURRENT-1]:#-*})
	if [[ $words[1] = trace && $PREFIX != -* ]]; then
		(($#operands)) || _mpu_containers
		return
	fi
	case $operands[1]-$#operands in
	-*) _describe question commands; _arguments $specs ;;
	show-1 | dump-1 | policy-1 | diff-[12]) _mpu_releases ;;
	checksum-1) _files -g '*.run' ;;
	*) _arguments $specs ;;
	esac
}

_mpu() {
	local help
	local -a specs commands

	help=$($words[1] --help 2>/dev/null)
	_mpu_options $help
	case $service in
	mpuctl) _mpu_ctl $help ;;
	mpu-run) _arguments -S $specs '(-)1:command:_command_names -e' '*::argument:_normal' ;;
	mpu-hook)
		_mpu_commands $help
		_arguments $specs '1:command:{_describe command commands}' '*:file:_files'
		;;
	mpu-runtime) _arguments $specs '*::argument:_default' ;;
	*) _arguments $specs ;;
	esac
}

_mpu "$@"
