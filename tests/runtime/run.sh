#!/bin/bash
# Containers of real runtimes against the simulated driver: tests/runtime/run.sh BUILD [CASE]
#
# Wants root; runs what is installed of runc, crun, podman, Docker and LXC, and says what is not.
# The machine is left as it was: images, containers and state live in a temporary folder.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${1:?usage: run.sh BUILD [CASE]}
exec python3 -B "$here/main.py" "$build" "${2-}"
