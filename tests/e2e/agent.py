"""Starts programs where it runs: on the host, in a PID namespace, under mpu-run.

Reads one JSON request a line from standard input and answers each with one line on standard output:

  {"run": [...]}    runs a program to its end -> {"status": 0, "out": "...", "err": "..."}
  {"spawn": [...]}  starts one and waits for its first line -> {"pid": 7, "line": "..."}; the pid
                    is the number in this namespace
  {"end": 7}        kills a spawned program and waits -> {"status": -9}
  {"pid": true}     -> {"pid": 2}

Ends with its standard input, and ends what it spawned.
"""
import json
import os
import signal
import subprocess
import sys

spawned = {}


def run(argv):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60)
    return {"status": done.returncode, "out": done.stdout, "err": done.stderr}


def spawn(argv):
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                               start_new_session=True)
    spawned[process.pid] = process
    return {"pid": process.pid, "line": process.stdout.readline()}


def kill(process):
    """With all that it started in its turn."""
    os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()
    return process.wait(timeout=30)


def end(pid):
    return {"status": kill(spawned.pop(pid))}


def pid(_):
    return {"pid": os.getpid()}


def main():
    for line in sys.stdin:
        (name, argument), = json.loads(line).items()
        try:
            answer = {"run": run, "spawn": spawn, "end": end, "pid": pid}[name](argument)
        except (OSError, subprocess.SubprocessError, KeyError) as error:
            answer = {"error": f"{name} {argument}: {error!r}"}
        print(json.dumps(answer), flush=True)
    for process in spawned.values():
        kill(process)


main()
