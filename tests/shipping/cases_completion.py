"""completion"""
import shlex
import tempfile
from pathlib import Path

import programs
from programs import FOLDERS, ROOT, commands, expect, expect_equal, help_texts, options, run

COMPLETIONS = ROOT / "completions"
LIBRARY = "/usr/share/bash-completion/bash_completion"
NEEDS = ["zsh", "fish", LIBRARY]

# Types LINE and a tab in an interactive bash with Debian's bash-completion, by the machinery that
# the tab starts, and prints what is offered.
BASH = r"""
. %s
. %s
ask() {
	COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9 COMP_KEY=9 COMPREPLY=()
	COMP_WORDS=() COMP_CWORD
	local word
	for word in ${1//=/ = }; do COMP_WORDS+=("$word"); done
	[[ $1 = *[\ =] ]] && COMP_WORDS+=('')
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	set -- "$(complete -p "${COMP_WORDS[0]}")"
	[[ $1 =~ -F\ ([^ ]+) ]] || exit 3
	compopt() { :; }
	"${BASH_REMATCH[1]}" "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}" \
		"${COMP_WORDS[COMP_CWORD - 1]}"
	printf '%%s\n' "${COMPREPLY[@]}"
}
ask %s
"""

# A zsh on a terminal of its own, where a tab is typed behind LINE; what completion adds is kept.
ZSH = r"""
zmodload zsh/zpty
zpty -b shell zsh -f -i
# Reads what the shell shows, as it would wait otherwise, until the file $1 is there.
wait_for() {
	local shown
	integer turns=0
	while [[ ! -e $1 ]]; do
		zpty -rt shell shown || sleep 0.02
		((turns++ < 1000)) || { print -u2 "zsh hangs at: $line"; exit 1 }
	done
}
zpty -w shell 'PROMPT= LISTMAX=100000 fpath=(%(folder)s $fpath); stty -echo'
zpty -w shell 'autoload -U compinit; compinit -u -d %(folder)s/dump; bindkey "^I" complete-word'
zpty -w shell 'compadd() {
	[[ "$*" == *-[OAD]* ]] && { builtin compadd "$@"; return }
	local -a got
	builtin compadd -O got "$@"
	print -l -- $got >>%(folder)s/got
	builtin compadd "$@"
}'
zpty -w shell 'touch %(folder)s/ready'
wait_for %(folder)s/ready
integer n=0
while IFS= read -r line; do
	: >%(folder)s/got
	zpty -n -w shell "$line"$'\t'
	sleep 0.4
	zpty -n -w shell $'\C-u'" touch %(folder)s/typed$n"$'\n'
	wait_for %(folder)s/typed$n
	print -r -- "= $line"
	cat %(folder)s/got
	((n++))
done <%(folder)s/lines
zpty -d shell
"""


def ask_bash(line):
    script = BASH % (LIBRARY, COMPLETIONS / "mpu.bash", shlex.quote(line))
    done = run(["bash", "--norc", "-c", script], env=programs.environment())
    return done.stdout.split("\n")[:-1]


def ask_fish(line):
    script = f"source {COMPLETIONS}/mpu.fish; complete -C {shlex.quote(line)}"
    with tempfile.TemporaryDirectory() as home:
        done = run(["fish", "--no-config", "-c", script], env=programs.environment(HOME=home),
                   cwd=home)
    expect_equal(done.stderr, "", f"fish, at {line!r}")
    return [offer.split("\t")[0] for offer in done.stdout.splitlines()]


def ask_zsh(lines):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "_mpu").write_text((COMPLETIONS / "mpu.zsh").read_text())
        Path(folder, "lines").write_text("".join(f"{line}\n" for line in lines))
        done = run(["zsh", "-f", "-c", ZSH % {"folder": folder}],
                   env=programs.environment(HOME=folder, TERM="vt100"), cwd=folder)
    answers = done.stdout.split("= ")[1:]
    expect_equal(len(answers), len(lines), f"answers of zsh, with {done.stderr!r}")
    return {line: answer.split("\n")[1:] for line, answer in zip(lines, answers)}


def lines_for_options():
    """What is typed to be offered a program's options, and these."""
    return {" ".join(name) + " --": options(text) for name, text in help_texts().items()
            if name[0] != "mpuctl" or len(name) > 1} | \
        {"mpuctl --": {"--help", "--version"}}


def names(offers):
    return {offer.split("=")[0] for offer in offers if offer.startswith("--") and offer != "--"}


def lines_for_values():
    return {f"{' '.join(name)} {option}=": set(words) for name, text in help_texts().items()
            if len(name) == 1 for option, words in programs.values(text).items()}


def lines_for_commands():
    return {" ".join(name) + " ": set(commands(text)) for name, text in help_texts().items()
            if commands(text)}


def test_the_files_pass_the_syntax_checks_of_their_shells():
    for argv in (["bash", "-n", COMPLETIONS / "mpu.bash"], ["zsh", "-n", COMPLETIONS / "mpu.zsh"],
                 ["fish", "--no-execute", COMPLETIONS / "mpu.fish"]):
        expect_equal(run(argv).stderr, "", str(argv))


def test_bash_offers_every_option_and_no_other():
    for line, wanted in lines_for_options().items():
        expect_equal(names(ask_bash(line)), wanted, line)


def test_bash_offers_the_values_of_options():
    for line, wanted in lines_for_values().items():
        expect_equal(set(ask_bash(line)), wanted, line)


def test_bash_offers_the_commands():
    for line, wanted in lines_for_commands().items():
        expect_equal({offer for offer in ask_bash(line) if offer[:1] != "-"}, wanted, line)


def test_bash_offers_releases_and_what_the_command_itself_takes():
    expect("580.95.05" in ask_bash("mpuctl abi show 580.9"), "releases behind mpuctl abi show")
    expect("580.95.05" in ask_bash("mpud --driver-version=580.9"), "releases for --driver-version")
    expect("--version" in ask_bash("mpu-run --pid-ns -- bash --vers"), "options of the command")


def test_words_of_a_confinement_are_offered_one_after_the_other():
    expect_equal(ask_bash("mpu-run --confine=compute,ut"), ["compute,utility"], "bash")
    expect("strict" in ask_bash("mpu-hook --confine="), "words of mpu-hook --confine in bash")
    expect_equal(ask_fish("mpud --confine=compute,ut"), ["--confine=compute,utility"], "fish")
    line = "mpu-run --confine=compute,ut"
    expect_equal([offer for offer in ask_zsh([line])[line] if offer], ["utility"], "zsh")


def test_bash_finds_every_program():
    script = f". {LIBRARY}; . {COMPLETIONS}/mpu.bash; complete -p {' '.join(FOLDERS)}"
    expect_equal(len(run(["bash", "-c", script]).stdout.splitlines()), len(FOLDERS), "programs")


def test_fish_offers_every_option_and_no_other():
    for line, wanted in lines_for_options().items():
        expect_equal(names(ask_fish(line)), wanted, line)


def test_fish_offers_values_and_commands():
    for line, wanted in lines_for_values().items():
        option = line.split()[-1]
        expect_equal(set(ask_fish(line)), {option + word for word in wanted}, line)
    for line, wanted in lines_for_commands().items():
        expect_equal({offer for offer in ask_fish(line) if offer[:1] != "-"}, wanted, line)


def test_zsh_offers_every_option_and_no_other():
    lines = lines_for_options()
    for line, offers in ask_zsh(lines).items():
        expect_equal(names(offers), lines[line], line)


def test_zsh_offers_values_and_commands():
    lines = lines_for_values() | lines_for_commands()
    for line, offers in ask_zsh(lines).items():
        expect_equal({offer for offer in offers if offer and offer[0] != "-"}, lines[line], line)
