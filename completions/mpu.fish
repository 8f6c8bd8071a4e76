# Completion for fish of mpu-run, mpud, mpuctl, mpu-hook and mpu-runtime. What they take is read
# from their own --help, so that it is what the installed program takes.

# __mpu_options PROGRAM [COMMAND]: the options that its help text names; those with words to choose
# from as --option=word.
function __mpu_options
    set -l seen
    for found in ($argv --help 2>/dev/null | string match -ra -- '--[a-z][a-z-]*(?:\[?=[A-Za-z_|]+)?')
        set -l parts (string split -m 1 = -- $found)
        set -l option (string trim -r -c '[' -- $parts[1])
        contains -- $option $seen; and continue
        set -a seen $option
        if not set -q parts[2]; or string match -q '*[' -- $parts[1]
            echo $option
        else if string match -qr '[A-Z]' -- $parts[2]
            echo $option=
        end
        set -q parts[2]; or continue
        for value in (string split '|' -- $parts[2])
            string match -qr '[A-Z]' -- $value; or echo $option=$value
            test $value = WORDS; and __mpu_words $option
        end
    end
end

# Words with commas between, behind those that were typed already.
function __mpu_words
    set -l typed (string match -rg '^--[a-z]+=(.*,)' -- (commandline -ct))
    for word in compute utility graphics video display ngx compat32 all profiling rdma fabric-imex \
            log strict
        echo $argv[1]=$typed$word
    end
end

# __mpu_commands PROGRAM [COMMAND]: its commands, each with what it does.
function __mpu_commands
    $argv --help 2>/dev/null |
        string replace -rf '^  ([a-z][A-Za-z-]*)( [][A-Z. a-z]*)?  +([^ ].*)$' '$1'\t'$3'
end

# The containers that mpud serves: ids as mpuctl status shows them, and names.
function __mpu_containers
    mpuctl status 2>/dev/null |
        awk '/^    id +name/ { on = 1; next } on { print $1; if ($2 != "-") print $2 }'
end

function __mpu_complete
    set -l words (commandline -opc)
    set -l program $words[1]
    set -e words[1]
    set -l name (string replace -r '.*/' '' -- $program)
    set -l operands

    for word in $words
        string match -q -- '-*' $word; or set -a operands $word
    end
    switch $name
        case mpuctl
            if test (count $operands) = 0
                __mpu_commands $program
                __mpu_options $program
                return
            end
            contains -- $operands[1] (__mpu_commands $program | string replace -r '\t.*' '')
            or return
            switch (count $operands)-$operands[-1]
                case 1-trace
                    __mpu_containers
                case '1-*'
                    __mpu_commands $program $operands[1]
                case 2-show 2-dump 2-policy 2-diff
                    mpuctl abi versions | string replace -r ' .*' ''
            end
            __mpu_options $program $operands[1]
        case mpu-hook
            test (count $operands) = 0; and __mpu_commands $program
            __mpu_options $program
        case '*'
            __mpu_options $program
    end
end

# Behind these words the command of mpu-run, or the arguments of mpu-runtime's runtime, begin.
function __mpu_own_words
    not string match -qv -- '-*' (commandline -opc)[2..-1]
    and not contains -- -- (commandline -opc)
end

for program in mpud mpuctl mpu-hook
    complete -c $program -a '(__mpu_complete)'
end
for program in mpu-run mpu-runtime
    complete -c $program -n __mpu_own_words -a '(__mpu_complete)'
end
complete -c mpud -f
complete -c mpuctl -f
complete -c mpu-run -n 'not __mpu_own_words' -x -a '(__fish_complete_subcommand)'
