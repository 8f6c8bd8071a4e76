# Completion for fish of mpu-run, mpud, mpuctl, mpu-hook and mpu-runtime. What they take is read
# from their own --help, so that it is what the installed program takes.

# The options that the help text on standard input names; those with words to choose from as
# --option=word.
function __mpu_options
    set -l text (cat | string collect)
    set -l seen
    for found in (string match -ra -- '--[a-z][a-z-]*(?:\[?=[A-Za-z_|]+)?' $text)
        set -l option (string replace -r '\[?=.*' '' -- $found)
        contains -- $option $seen; and continue
        set -a seen $option
        set -l values (string replace -rf '.*=' '' -- $found | string split '|')
        echo $option(test -n "$values"; and echo =; or echo)
        for value in $values
            string match -qr '[A-Z]' -- $value; or echo $option=$value
        end
    end
end

# Its commands, each with what it does.
function __mpu_commands
    string replace -rf '^  ([a-z][A-Za-z-]*)( [][A-Z. a-z]*)?  +([^ ].*)$' '$1\t$3'
end

function __mpu_complete
    set -l words (commandline -opc)
    set -l program $words[1]
    set -e words[1]
    set -l name (string replace -r '.*/' '' -- $program)
    set -l operands (string match -v -- '-*' $words)

    switch $name
        case mpuctl
            if test (count $operands) = 0
                $program --help | __mpu_commands
                $program --help | __mpu_options
                return
            end
            contains -- $operands[1] ($program --help | __mpu_commands | string replace -r '\t.*' '')
            or return
            switch (count $operands)-$operands[-1]
                case '1-*'
                    $program $operands[1] --help | __mpu_commands
                case 2-show 2-dump 2-diff
                    mpuctl abi versions | string replace -r ' .*' ''
            end
            $program $operands[1] --help | __mpu_options
        case mpu-hook
            test (count $operands) = 0; and $program --help | __mpu_commands
            $program --help | __mpu_options
        case '*'
            $program --help | __mpu_options
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
