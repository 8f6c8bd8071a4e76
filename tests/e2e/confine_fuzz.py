"""A hostile program in a confined container: what gets through to the driver?

  confine_fuzz.py BUILD-DIRECTORY [--calls=N] [--processes=N] [--release=V] [--seed=N]
                  [--summary=FILE]

confine_fuzz.c makes the calls. The simulated driver's alarm must stay silent: it knows what may
arrive and from whom, by tests/data, and that all memory that a proxy names lies in its lanes.
Beside the fuzzer a process of the same container, one of another and one of the host hold memory
with a pattern, which nobody may see or change.
"""
import argparse
import subprocess
import sys
import time
from pathlib import Path

import results
from confined import expect_no_breach, proxies, set_alarm, write_numbers
from results import expect, expect_equal
from world import Programs, Simrm, wait_until

def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--calls", type=int, default=60000)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--release", action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--words", default="compute,utility,strict")
    parser.add_argument("--summary")
    return parser.parse_args()


def start(argv):
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    expect(line == "ready\n", f"{argv[:3]}: {line!r}")
    return process


def end(process, who):
    out, errors = process.communicate("\n", timeout=60)
    expect("canary whole" in out, f"memory in {who}: {out!r} {errors[-300:]}")


def fuzz(programs, simrm, options):
    """What the fuzzer said, and what has arrived."""
    numbers = Path(programs.directory, "numbers")
    write_numbers(numbers, simrm.version)
    confined = [programs.mpu_run, "--pid-ns", f"--dev-root={simrm.directory}",
                f"--confine={options.words}", "--"]
    canary = [programs.confine_fuzz, simrm.directory, "canary"]
    fuzzer = [programs.confine_fuzz, simrm.directory, str(numbers), str(options.seed),
              str(options.calls), str(options.processes)]
    neighbours = {"another container": start([*confined, *canary])}
    set_alarm(simrm, simrm.version)
    if "strict" not in options.words:
        # The one window: what is passed on is read again, so that another class may stand there.
        simrm.command("allow from=target kind=memory number=0 mask=0\n"
                      "allow from=target kind=escape number=0x27")
    # In one container with the fuzzer: its canary ends when the fuzzer has, and says so last.
    script = '"$1" "$2" canary <"$0" & first=$!; shift 2; "$@"; status=$?; ' \
             'echo >"$0"; wait $first; exit $status'
    fifo = Path(programs.directory, "fifo")
    fifo.unlink(missing_ok=True)
    subprocess.run(["mkfifo", fifo], check=True)
    done = subprocess.run(
        [*confined, "sh", "-c", script, str(fifo), programs.confine_fuzz, simrm.directory, *fuzzer],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=86400)
    seen = expect_no_breach(simrm)
    expect_equal(done.returncode, 0, f"the fuzzer: {done.stdout[-300:]} {done.stderr[-600:]}")
    expect("canary whole" in done.stdout, f"memory in the same container: {done.stdout}")
    expect_equal(done.stdout.count("memory beside the calls is whole"), options.processes,
                 f"whole memories of fuzzers: {done.stdout}")
    expect("SECRET" not in done.stdout, done.stdout)
    for sign in ("AddressSanitizer", "runtime error", "has crashed", "worker has ended"):
        expect(sign not in done.stderr, done.stderr[-600:])
    for who, process in neighbours.items():
        end(process, who)
    return seen


def run_release(programs, release, options):
    with Simrm(programs, release) as simrm:
        simrm.version = release
        host = start([programs.confine_fuzz, simrm.directory, "canary"])
        started = time.monotonic()
        try:
            seen = fuzz(programs, simrm, options)
        finally:
            simrm.command("alarm on=0")
            end(host, "the host")
        took = time.monotonic() - started

        def is_clean():
            state = simrm.state()
            return not state["clients"] and state["opens"] == state["releases"]
        wait_until(is_clean, "the end of all clients", 30)
        wait_until(lambda: not proxies(), "the end of all proxies", 30)
    through = seen["sent"]["proxy"]
    expect(through > options.calls / 100, f"only {through} of {options.calls} calls reached it")
    expect(seen["lane_accesses"] > through, "no memory of proxies was looked at")
    return seen, took


def senders(seen):
    return ", ".join(f"{seen['sent'][sender]} from {name}" for sender, name in
                     (("proxy", "proxies"), ("target", "the program itself (nvidia-uvm)"),
                      ("host", "mpu")))


def main():
    options = arguments()
    programs = Programs(options.build)
    try:
        for release in options.release or ["580.95.05"]:
            case = f"{release}: {options.calls} hostile calls, seed {options.seed}"
            try:
                seen, took = run_release(programs, release, options)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                results.report("failed", case, error)
                continue
            rate = options.calls / took
            case += f": {senders(seen)} reached the driver, none that may not"
            results.report("passed", case)
            print(f"{took:.0f} s, {rate:.0f} calls/s, {seen['lane_accesses']} uses of lanes",
                  flush=True)
            if options.summary:
                with open(options.summary, "a", encoding="utf-8") as out:
                    out.write(f"| {time.strftime('%Y-%m-%d')} | {release} | {options.words} | "
                              f"{options.calls:,} | {options.seed} | {took:.0f} | "
                              f"{seen['sent']['proxy']:,} | "
                              f"{seen['sent']['target']:,} | "
                              f"{seen['sent']['host']:,} | "
                              f"{seen['lane_accesses']:,} | {seen['breaches']} |\n")
    finally:
        programs.remove()
    return results.exit_status()


sys.exit(main())
