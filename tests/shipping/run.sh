#!/bin/bash
# What a user finds who installs mpu: help, manuals, completion, files. tests/shipping/run.sh BUILD
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${1:?usage: run.sh BUILD [PART-OF-A-NAME]}
exec python3 -B "$here/main.py" "$build" "${2-}"
