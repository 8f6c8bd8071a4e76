"""what programs say of bad input"""
import json
import tempfile
from pathlib import Path

from programs import FOLDERS, expect, run
import programs

NEEDS = []
CONTAINER = {"ociVersion": "1.0.2", "process": {}, "root": {}, "linux": {}}

# Program and arguments, the exit status, what it says. FOLDER is one with nothing in it, FILE a file
# that is no JSON and no socket.
LONG = "/" + "x" * 3000
LINES = [
    ("mpu-run", 125, "no command (usage: mpu-run"),
    ("mpu-run --socket=FOLDER -- true", 125, "nobody listens at FOLDER; start it"),
    ("mpu-run --dev-root=FOLDER -- true", 125, "no device files in --dev-root: FOLDER/nvidiactl: No such"),
    ("mpu-run --dev-root=FILE -- true", 125, "FILE/nvidiactl: Not a directory"),
    ("mpu-run --pid-ns=1 -- true", 125, "--pid-ns takes no value (see mpu-run --help)"),
    ("mpu-run --trace= -- true", 125, "--trace= is not understood: it takes a file's name"),
    ("mpud --such", 1, "mpud: unknown option --such (see mpud --help)"),
    ("mpud -x", 1, "mpud: unknown option -x (see mpud --help)"),
    ("mpud --replace=1", 1, "mpud: --replace takes no value (see mpud --help)"),
    ("mpud --view", 1, "mpud: --view needs a value (see mpud --help)"),
    ("mpud --policy=", 1, "--policy does not take nothing: it takes auto, always or off"),
    ("mpud --socket=here", 1, "--socket does not take here: it takes an absolute path"),
    ("mpud --watchdog=0", 1, "--watchdog does not take 0: it takes 1 to 3600 seconds"),
    ("mpud argument", 1, "takes no argument argument"),
    ("mpud --socket=FILE", 1, "FILE is there already and is no socket"),
    ("mpud --socket=FOLDER", 1, "FOLDER is there already and is no socket"),
    (f"mpud --socket={LONG}", 1, "is too long: it has 3001 bytes, and can have 107 at most"),
    ("mpud --socket=FOLDER/s --socket-group=4294967295", 1, "no group has such a number"),
    ("mpud --socket=FOLDER/s --socket-group=99999999999", 1, "no group has such a number"),
    ("mpud --socket=FOLDER/s --socket-group=-1", 1, "/etc/group has no group -1"),
    ("mpuctl", 2, "no command (see mpuctl --help)"),
    ("mpuctl such", 2, "unknown command such (see mpuctl --help)"),
    ("mpuctl status --such", 2, "mpuctl: status has no option --such (see mpuctl status --help)"),
    ("mpuctl status -x", 2, "mpuctl: status has no option -x (see mpuctl status --help)"),
    ("mpuctl status --json=1", 2, "mpuctl: status --json takes no value (see mpuctl status --help)"),
    ("mpuctl status --socket", 2, "mpuctl: status --socket wants a value (see mpuctl status --help)"),
    ("mpuctl stats --such", 2, "mpuctl: stats has no option --such (see mpuctl stats --help)"),
    ("mpuctl stats --interval", 2, "mpuctl: stats --interval wants a value"),
    ("mpuctl ps --such", 2, "mpuctl: ps has no option --such (see mpuctl ps --help)"),
    ("mpuctl trace --such x", 2, "mpuctl: trace has no option --such (see mpuctl trace --help)"),
    ("mpuctl trace x -o", 2, "mpuctl: trace -o wants a value (see mpuctl trace --help)"),
    ("mpuctl trace", 2, "which container?"),
    ("mpuctl status --socket=", 1, "the path of mpud's socket is empty: give one by --socket=PATH"),
    ("mpuctl status --socket=FILE", 1, "no mpud runs at FILE: start it"),
    ("mpuctl status --socket=FOLDER", 1, "no mpud runs at FOLDER: start it"),
    (f"mpuctl status --socket={LONG}", 1, "is too long: it has 3001 bytes, and can have 99 at most"),
    ("mpuctl stats --interval=99999999999", 2, "--interval takes 1 to 3600 seconds, not 99999999999"),
    ("mpuctl abi", 2, "mpuctl abi: no command"),
    ("mpuctl abi such", 2, "mpuctl abi: there is no command such"),
    ("mpuctl abi --such", 2, "mpuctl abi: there is no option --such"),
    ("mpuctl abi show", 2, "mpuctl abi: too few or too many arguments of show"),
    ("mpuctl abi checksum FOLDER", 1, "FOLDER: cannot be read: Is a directory"),
    ("mpu-hook", 1, "give one command: see mpu-hook --help"),
    ("mpu-hook such", 1, "there is no command such"),
    ("mpu-hook --root= uninstall --podman", 1, "root=: it takes a directory"),
    ("mpu-hook --socket= precreate", 1, "socket=: it takes a path"),
    ("mpu-hook profile FOLDER", 1, "cannot read FOLDER: Is a directory"),
    ("mpu-hook profile FILE", 1, "FILE is not valid JSON"),
    ("mpu-hook --root=FILE install --podman", 1, "Not a directory"),
    ("mpu-runtime --runtime=FOLDER/none state x", 127, "cannot execute the OCI runtime FOLDER/none"),
    ("mpu-runtime run --bundle=FOLDER x", 1, "cannot open FOLDER/config.json: No such file"),
    ("mpu-runtime run --bundle=FILE x", 1, "cannot open FILE/config.json: Not a directory"),
]


def binary(program):
    return programs.build / FOLDERS[program] / program


class Places:
    """FOLDER and FILE."""

    def __enter__(self):
        self.made = tempfile.TemporaryDirectory()
        self.words = {"FOLDER": f"{self.made.name}/folder", "FILE": f"{self.made.name}/file"}
        Path(self.words["FOLDER"]).mkdir()
        Path(self.words["FILE"]).write_bytes(b"\xff\xfe")
        return self

    def __exit__(self, *_):
        self.made.cleanup()

    def put_into(self, text):
        for word, path in self.words.items():
            text = text.replace(word, path)
        return text


def test_each_program_says_what_is_wrong_with_its_command_line():
    with Places() as places:
        for line, status, words in LINES:
            program, *arguments = line.split()
            done = run([binary(program), *map(places.put_into, arguments)], check=False, timeout=20)
            what = f"{line[:100]}: {done.returncode}, {done.stderr!r}"
            expect(done.returncode == status, what)
            expect(places.put_into(words) in done.stderr, what)
            expect(done.stderr.endswith("\n") and len(done.stderr) < 1200, what)


def test_annotations_that_are_none_are_refused_with_their_values():
    for annotations, words in [
            ({"mpu.enable": "maybe"}, "mpu.enable=maybe: its values are 1, true, yes, 0, false, no"),
            ({"mpu.enable": 1}, "mpu.enable=: its values are"),
            ({"mpu.enable": "1", "mpu.view": ""}, "mpu.view=: its values are container, host"),
            ({"mpu.enable": "1", "mpu.policy": "x" * 9000}, "its values are auto, always, off"),
            ({"mpu.confine": "a\x1b[31m\nlevel=error"}, "there is no word")]:
        done = run([binary("mpu-hook"), "precreate"], check=False,
                   text_in=json.dumps({**CONTAINER, "annotations": annotations}))
        expect(done.returncode == 1 and words in done.stderr, f"{annotations}: {done.stderr!r}")
        expect(done.stderr.count("\n") == 1 and "\x1b" not in done.stderr, f"{done.stderr!r}")


def test_what_was_not_installed_is_not_removed():
    with Places() as places:
        folder = places.words["FOLDER"]
        done = run([binary("mpu-hook"), f"--root={folder}", "uninstall", "--podman", "--docker"])
        expect(done.stdout.count("nothing of mpu's is there") == 3, done.stdout)
        expect("removed" not in done.stdout, done.stdout)
        run([binary("mpu-hook"), f"--root={folder}", "install", "--docker"])
        done = run([binary("mpu-hook"), f"--root={folder}", "uninstall", "--docker"])
        expect(done.stdout == f"removed {folder}/etc/docker/daemon.json\n", done.stdout)
