"""installation"""
import json
import re
import shutil
import tempfile
from pathlib import Path

import programs
from programs import ROOT, SECTIONS, expect, expect_equal, run

NEEDS = ["cmake", "pkg-config", "systemd-analyze", "cc", "c++", "nm"]


def paths(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


class Installed:
    """A prefix into which the build was installed; gone at the end, with its parent folder."""

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="mpu-install-"))
        self.prefix = self.folder / "made/prefix"
        self.manifest = programs.build / "install_manifest.txt"
        run(["cmake", "--install", programs.build, "--prefix", self.prefix])
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)
        self.manifest.unlink(missing_ok=True)
        (programs.build / "packaging/made-folders").unlink(missing_ok=True)

    def uninstall(self):
        run(["cmake", "--build", programs.build, "--target", "uninstall"])

    def find(self, pattern):
        found = list(self.prefix.glob(pattern))
        expect(len(found) == 1, f"{pattern}: {found}")
        return found[0]


def test_programs_pages_completions_units_and_documents_are_installed():
    with Installed() as installed:
        for program, section in SECTIONS.items():
            run([installed.find(f"bin/{program}"), "--help"])
            installed.find(f"share/man/man{section}/{program}.{section}.gz")
            installed.find(f"share/bash-completion/completions/{program}")
            installed.find(f"share/fish/vendor_completions.d/{program}.fish")
        installed.find("share/man/man7/mpu-annotations.7.gz")
        installed.find("share/zsh/site-functions/_mpu")
        for manager in ("system", "user"):
            for unit in ("mpud.service", "mpud.socket"):
                installed.find(f"lib/systemd/{manager}/{unit}")
        installed.find("share/doc/mpu/examples/podman/mpu-precreate.json")
        expect("Nm mpud" in run(["gzip", "-dc", installed.find("share/man/man8/mpud.8.gz")]).stdout,
               "the manual of mpud")


def test_the_installed_programs_alone_make_and_check_a_file_of_allowed_calls():
    with Installed() as installed:
        mpuctl = ["env", "-i", installed.find("bin/mpuctl"), "abi"]
        log = ROOT / "tests/data/policy-refused.log"
        rows = run([*mpuctl, "policy-from-trace", "--driver-version=580.95.05", "--container=web",
                    log]).stdout
        file = installed.folder / "allow"
        file.write_text(rows, encoding="utf-8")
        file.chmod(0o644)
        added = [line for line in run([*mpuctl, "policy", "580.95.05", "compute",
                                       f"--allow={file}"]).stdout.splitlines() if "(added)" in line]
        expect(len(added) == 1 and "NV2080_CTRL_CMD_GR_GET_ZCULL_INFO" in added[0], added)


def test_links_between_installed_documents_lead_somewhere():
    with Installed() as installed:
        documents = installed.find("share/doc/mpu")
        dead = []
        for document in documents.rglob("*.md"):
            for link in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
                # What explains the source leads to the source.
                if re.match(r"[a-z]+:|(\.\./)?(tests|supervisor|nvabi|runtime-hook|packaging|"
                            r"filter|base|examples/(systemd|nvabi|demo))", link):
                    continue
                if not (document.parent / link).exists():
                    dead.append(f"{document.relative_to(documents)}: {link}")
        expect_equal(dead, [], "dead links")


def test_systemd_takes_the_units():
    for manager, unit_folder in (("system", "system"), ("user", "user")):
        with Installed() as installed:
            # As the packages have it: the program where systemd looks for it.
            for unit in ("mpud.service", "mpud.socket"):
                path = installed.find(f"lib/systemd/{unit_folder}/{unit}")
                program = installed.find("bin/mpud")
                path.write_text(path.read_text().replace("ExecStart=mpud", f"ExecStart={program}"))
            done = run(["systemd-analyze", f"--{manager}", "--man=no", "verify",
                        installed.find(f"lib/systemd/{unit_folder}/mpud.service"),
                        installed.find(f"lib/systemd/{unit_folder}/mpud.socket")], check=False)
            said = [line for line in done.stderr.splitlines() if "mpud" in line]
            expect_equal(said, [], f"systemd-analyze verify --{manager}")


def test_the_units_of_the_programs_name_no_folder():
    for unit in (ROOT / "examples/systemd").rglob("*.service"):
        expect(re.search(r"^ExecStart=mpud\b", unit.read_text(), re.M), f"ExecStart of {unit}")


def test_the_example_is_built_with_the_library_by_pkg_config_alone():
    for libraries in ([], ["--static"]):
        with Installed() as installed:
            env = programs.environment(PKG_CONFIG_PATH=installed.find("lib*/**/nvabi.pc").parent)
            flags = run(["pkg-config", "--cflags", "--libs", *libraries, "nvabi"], env=env)
            if libraries:  # nothing but the archive is there
                for path in installed.prefix.rglob("libnvabi.so*"):
                    path.unlink()
            program = installed.folder / "nvabi-show"
            run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-o", program,
                 installed.find("share/doc/nvabi/examples/nvabi-show.c"), *flags.stdout.split()])
            library = installed.find("lib*/**/libnvabi.a").parent
            done = run([program, "580.95.05", "NV2080_CTRL_CMD_GPU_GET_PIDS"],
                       env={**env, "LD_LIBRARY_PATH": str(library)})
            expect("0x2080018d" in done.stdout and "pidTblCount" in done.stdout, done.stdout)
            expect(("libnvabi.so" in run(["ldd", program]).stdout) != bool(libraries),
                   "linked with the other kind of library")


def test_the_header_is_good_c_and_cpp_by_itself():
    with Installed() as installed:
        include = installed.find("include")
        for compiler in (["cc", "-std=c99", "-pedantic", "-x", "c"], ["c++", "-std=c++11", "-x", "c++"]):
            for header in sorted(include.glob("nvabi/*.h")):
                run([*compiler, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{include}",
                     "-include", header, "/dev/null"])
        program = installed.folder / "program.cc"
        program.write_text("#include <nvabi/nvabi.h>\n"
                           "int main() { return nvabi_release_count() == 0; }\n")
        run(["c++", f"-I{include}", "-o", installed.folder / "program", program,
             installed.find("lib*/**/libnvabi.a")])
        run([installed.folder / "program"])


def test_the_library_has_the_symbols_of_the_header_and_no_other():
    with Installed() as installed:
        library = installed.find("lib*/**/libnvabi.so.0")
        symbols = {line.split()[-1].split("@")[0] for line in
                   run(["nm", "-D", "--defined-only", library]).stdout.splitlines()}
        symbols.discard("NVABI_0")
        declared = set()
        for header in installed.find("include/nvabi").glob("*.h"):
            text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
            declared |= set(re.findall(r"\b(nvabi_\w+)\(", text))
        declared -= {"nvabi_field_fn"}
        expect_equal(symbols, declared, "symbols")
        expect("libnvabi.so.0" in run(["readelf", "-d", library]).stdout, "soname")


def test_uninstall_leaves_nothing():
    with Installed() as installed:
        count = len(paths(installed.prefix))
        expect(count > 60, f"only {count} paths were installed")
        run(["cmake", "--install", programs.build, "--prefix", installed.prefix])  # once more
        installed.uninstall()
        expect_equal(paths(installed.folder), [], "left")


def test_uninstall_leaves_what_is_not_ours():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "share/man/man1").mkdir(parents=True)
        Path(folder, "bin").mkdir()
        Path(folder, "bin/other").touch()
        before = paths(folder)
        run(["cmake", "--install", programs.build, "--prefix", folder])
        Path(folder, "include/nvabi/of-somebody.h").touch()
        run(["cmake", "--build", programs.build, "--target", "uninstall"])
        expect_equal(paths(folder), sorted(before + ["include", "include/nvabi",
                                                     "include/nvabi/of-somebody.h"]), "left")


def test_hook_installs_the_installed_programs():
    with Installed() as installed:
        root = installed.folder / "root"
        hook = installed.find("bin/mpu-hook")
        run([hook, f"--root={root}", "install", "--podman", "--docker"])
        written = json.loads((root / "usr/share/containers/oci/hooks.d/mpu-precreate.json")
                             .read_text())
        expect_equal(written["hook"]["path"], str(hook), "the hook")
        daemon = json.loads((root / "etc/docker/daemon.json").read_text())
        expect_equal(daemon["runtimes"]["mpu"]["path"], str(installed.find("bin/mpu-runtime")),
                     "the runtime")
        run([hook, f"--root={root}", "uninstall", "--podman", "--docker"])
        expect_equal([path for path in root.rglob("*") if path.is_file()], [], "left")
