"""Runs the cases of all runtimes, or those of the module or with the name that the second argument
tells."""
import os
import sys

import containers  # first: it finds the modules of tests/e2e
import cases_bad_input
import cases_confine
import cases_control
import cases_daemon
import cases_docker
import cases_install
import cases_lxc
import cases_many
import cases_oci
import cases_metrics
import cases_podman
import cases_ps
import cases_trace
from results import exit_status, report, run_cases

MODULES = [cases_oci, cases_confine, cases_podman, cases_docker, cases_lxc, cases_many,
           cases_bad_input, cases_daemon, cases_control, cases_trace, cases_ps, cases_metrics, cases_install]


def main():
    build, wanted = sys.argv[1], sys.argv[2].replace(" ", "_") or None
    if os.geteuid() != 0:
        report("not-run", "container runtimes", "wants root")
        return 1
    here = containers.World(build)
    for module in MODULES:
        module.world = here
    try:
        for module in MODULES:
            cases = [name for name in vars(module) if name.startswith("test_")]
            if wanted and wanted != module.__name__ and not any(wanted in name for name in cases):
                continue
            missing = [name for name in module.NEEDS if not containers.installed(name)]
            if missing:
                report("not-run", module.TITLE, f"not installed: {' '.join(missing)}")
                continue
            module.start()
            try:
                run_cases(module, None if wanted == module.__name__ else wanted)
            finally:
                module.stop()
    finally:
        status = here.stop()
        report("passed" if status == 0 else "failed", "mpud ends cleanly", f"status {status}")
    return exit_status()


sys.exit(main())
