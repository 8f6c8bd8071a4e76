"""Runs the cases, or those with the name of which the second argument is a part."""
import sys

import programs  # first: it finds the modules of tests/e2e
import cases_completion
import cases_docs
import cases_help
import cases_install
import cases_manual
import cases_messages
import cases_session
from results import exit_status, report, run_cases

MODULES = [cases_help, cases_messages, cases_manual, cases_docs, cases_completion,
           cases_install, cases_session]


def main():
    programs.build = programs.Path(sys.argv[1]).resolve()
    wanted = sys.argv[2].replace(" ", "_") or None
    for module in MODULES:
        missing = [name for name in module.NEEDS if not programs.installed(name)]
        if missing:
            report("failed", module.__doc__.splitlines()[0],
                   f"not installed: {' '.join(missing)}; see tests/packages.txt")
            continue
        run_cases(module, wanted)
    return exit_status()


sys.exit(main())
