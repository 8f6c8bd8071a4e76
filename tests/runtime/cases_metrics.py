"""mpud --metrics, for Prometheus."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import cases_control
import cases_ps
from containers import MIB, Mpud, expect, expect_equal, installed, run, wait_until
from results import report
from world import die_with_parent

TITLE = "metrics"
NEEDS = ["runc"]
world = None


def start():
    cases_control.world = cases_ps.world = world


def stop():
    pass


class UnixConnection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self.host)


def connect(address):
    if address.startswith("unix:"):
        connection = UnixConnection("localhost")
        connection.host = address[len("unix:"):]
        return connection
    return http.client.HTTPConnection(address, timeout=20)


def get(address, path="/metrics", method="GET", body=None):
    connection = connect(address)
    connection.request(method, path, body=body, headers={"Host": "localhost"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def scrape(address):
    """{sample: value} of what is served."""
    status, text = get(address)
    expect_equal(status, 200, "status")
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in samples.items()}


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def addresses():
    return [f"127.0.0.1:{free_port()}", f"unix:{world.directory}/metrics-{time.time_ns()}.sock"]


def by_label(samples, name, label):
    """{value of LABEL: value} of the samples of NAME."""
    return {re.search(rf'{label}="([^"]*)"', sample)[1]: value
            for sample, value in samples.items() if sample.startswith(name + "{")}


def test_metrics_are_what_stats_and_ps_tell():
    for address in addresses():
        with cases_control.another_mpud(f"--metrics={address}") as mpud, \
                cases_control.container(mpud.socket, (world.gpu_hold, f"--dev-root={world.gpu}",
                                                      "--memory=100")):
            cases_control.look(mpud.socket)
            stats = cases_control.ask("stats", mpud.socket)
            samples = scrape(address)
            for kind in ("handled", "passed", "refused", "retried", "unreadable", "vanished"):
                expect_equal(samples[f'mpu_calls_total{{kind="{kind}"}}'], stats[kind], kind)
            expect_equal(samples["mpu_call_duration_seconds_count"], stats["handled"], "count")
            expect_equal(samples['mpu_call_duration_seconds_bucket{le="+Inf"}'], stats["handled"],
                         "last bucket")
            buckets = [value for name, value in samples.items() if "_bucket" in name]
            expect(len(buckets) == 80 and buckets == sorted(buckets), f"buckets: {buckets}")
            nanoseconds = sum(one["mean_ns"] * one["count"] for one in stats["controls"])
            expect(abs(samples["mpu_call_duration_seconds_sum"] * 1e9 - nanoseconds) < 1e5, "sum")
            for one in stats["controls"]:
                expect_equal(samples[f'mpu_control_calls_total{{control="{one["name"]}"}}'],
                             one["count"], one["name"])
            expect_equal((samples["mpu_containers"], samples["mpu_listeners"]), (1, 1), "containers")
            answer = cases_ps.ask(socket=mpud.socket)
            told = {}
            for one in cases_ps.processes(answer).values():
                identity = one["container"]["id"] if one["container"] else ""
                told[identity] = told.get(identity, 0) + one["memory"]
            expect_equal(by_label(samples, "mpu_gpu_memory_bytes", "container"), told, "memory")
            expect_equal(sorted(told.values()), [64 * MIB, 100 * MIB], "truth")
            expect_equal(set(by_label(samples, "mpu_gpu_processes", "container").values()), {1.0},
                         "processes")
            expect_equal(samples["mpu_driver_answers"], 1, "driver")


def test_promtool_finds_no_fault():
    if not installed("promtool"):
        report("not-run", "promtool check metrics", "not installed: prometheus")
        return
    address = addresses()[0]
    with cases_control.another_mpud(f"--metrics={address}") as mpud, \
            cases_control.container(mpud.socket, (world.gpu_hold, f"--dev-root={world.gpu}")):
        cases_control.look(mpud.socket)
        done = subprocess.run(["promtool", "check", "metrics"], input=get(address)[1], text=True,
                              capture_output=True, timeout=60, check=False)
        expect_equal((done.returncode, done.stdout + done.stderr), (0, ""), "promtool")


@contextmanager
def prometheus(target):
    """A real one that scrapes TARGET every second; its own address."""
    folder = world.directory / "prometheus"
    folder.mkdir()
    folder.joinpath("config.yml").write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f"scrape_configs: [{{job_name: mpu, static_configs: [{{targets: ['{target}']}}]}}]\n")
    own = f"127.0.0.1:{free_port()}"
    with subprocess.Popen(["prometheus", f"--config.file={folder}/config.yml",
                           f"--storage.tsdb.path={folder}/data", f"--web.listen-address={own}"],
                          stderr=subprocess.DEVNULL, preexec_fn=die_with_parent) as process:
        try:
            yield own
        finally:
            process.terminate()
            process.wait(timeout=30)
            shutil.rmtree(folder)


def query(server, expression):
    try:
        with urllib.request.urlopen(f"http://{server}/api/v1/query?query={expression}",
                                    timeout=10) as answer:
            return json.load(answer)["data"]["result"]
    except OSError:
        return []


def test_a_real_prometheus_scrapes_it():
    if not installed("prometheus"):
        report("not-run", "a scrape by Prometheus", "not installed: prometheus")
        return
    address = addresses()[0]
    with cases_control.another_mpud(f"--metrics={address}"), prometheus(address) as server:
        wait_until(lambda: any(one["value"][1] == "1" for one in query(server, "up")),
                   "Prometheus to find mpud up", seconds=60)
        memory = wait_until(lambda: query(server, "mpu_gpu_memory_bytes"), "memory", seconds=30)
        expect_equal([one["value"][1] for one in memory], [str(64 * MIB)], "of the host's process")


def test_the_socket_outlives_workers_and_is_handed_over():
    for address in addresses():
        with cases_control.another_mpud(f"--metrics={address}") as mpud:
            for killed in range(1, 6):
                os.kill(mpud.worker(), signal.SIGKILL)
                expect_equal(scrape(address)["mpu_worker_restarts_total"], killed, "restarts")
            successor = Mpud(world, world.gpu, mpud.socket,
                             options=["--replace", f"--metrics={address}"])
            expect_equal(mpud.process.wait(timeout=20), 0, "status of the former mpud")
            mpud.process, mpud.log_path = successor.process, successor.log_path
            expect(scrape(address)["mpu_workers_started_total"] >= 7, "counts go on")
            # Who is told of no metrics serves none, and leaves nothing.
            successor = Mpud(world, world.gpu, mpud.socket, options=["--replace"])
            expect_equal(mpud.process.wait(timeout=20), 0, "status of the former mpud")
            mpud.process, mpud.log_path = successor.process, successor.log_path
            try:
                get(address)
                raise AssertionError(f"{address} is served still")
            except OSError:
                pass


def test_without_the_option_there_is_no_such_socket():
    with cases_control.another_mpud() as mpud:
        for pid in (mpud.process.pid, mpud.worker()):
            sockets = {os.readlink(one) for one in Path(f"/proc/{pid}/fd").iterdir()}
            listening = {f"socket:[{line.split()[9]}]" for name in ("tcp", "tcp6")
                         for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]}
            expect(not sockets & listening, "a TCP socket")
            threads = {one.joinpath("comm").read_text().strip()
                       for one in Path(f"/proc/{pid}/task").iterdir()}
            expect(not threads & {"mpu-metrics", "mpu-census"}, threads)


def test_a_driver_that_does_not_answer_holds_no_scrape_up():
    address = addresses()[0]
    with cases_control.another_mpud(f"--metrics={address}") as mpud:
        expect_equal(scrape(address)["mpu_driver_answers"], 1, "at first")
        world.simrm_process.command("block cmd=0x2080018d")
        try:
            time.sleep(5.5)
            before = time.monotonic()
            samples = scrape(address)
            expect(time.monotonic() - before < 4, "the scrape took long")
            expect_equal(samples["mpu_driver_answers"], 0, "while it is blocked")
            expect(samples["mpu_driver_answer_age_seconds"] > 5, "age")
            expect_equal(list(by_label(samples, "mpu_gpu_memory_bytes", "container").values()),
                         [64 * MIB], "its last answer")
        finally:
            world.simrm_process.command("clear")
        wait_until(lambda: scrape(address)["mpu_driver_answers"] == 1, "the driver to answer")
        expect_equal(cases_control.ask("status", mpud.socket)["workers"]["replaced"], 0, "replaced")


def test_no_gpu_device_is_said_once_and_the_rest_served():
    address = addresses()[0]
    with cases_control.another_mpud(f"--metrics={address}") as mpud:
        world.simrm_process.command("fail cmd=0x2b errno=5")
        try:
            for _ in range(2):
                expect_equal(scrape(address)["mpu_driver_answers"], 0, "driver")
                time.sleep(5.1)
        finally:
            world.simrm_process.command("clear")
        expect_equal(mpud.output().count("metrics lack who uses the GPUs"), 1, mpud.output())


def test_what_is_no_scrape_is_refused_and_the_next_one_answered():
    for address in addresses():
        with cases_control.another_mpud(f"--metrics={address}") as mpud:
            worker = mpud.worker()
            expect_equal(get(address, "/")[0], 404, "another page")
            expect_equal(get(address, "/metrics/../x")[0], 404, "another page")
            expect_equal(get(address, method="POST", body=b"x" * 100000)[0], 405, "POST")
            expect_equal(get(address, method="HEAD"), (200, ""), "HEAD")
            silent = []
            for data in (b"", b"\0" * 5000, b"GET /metrics HTTP/9.9\r\n\r\n", b"GET " * 20000,
                         b"GET /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n"):
                connection = connect(address)
                connection.connect()
                try:
                    connection.sock.sendall(data)
                except OSError:
                    pass  # it closed before it had read all
                silent.append(connection)
            expect("mpu_build_info" in get(address)[1], "behind others who say nothing")
            for connection in silent:
                connection.close()
            expect_equal(mpud.worker(), worker, "worker")


def test_other_addresses_are_refused():
    for address in ("0.0.0.0:9402", "9402", "unix:relative", "localhost:9402", ""):
        done = run([world.mpud, f"--metrics={address}", f"--dev-root={world.gpu}",
                    f"--socket={world.directory}/refused.sock"], check=False)
        expect(done.returncode == 1 and "--metrics does not take" in done.stderr, done.stderr)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run([world.mpud, f"--metrics=127.0.0.1:{taken.getsockname()[1]}",
                    f"--dev-root={world.gpu}", f"--socket={world.directory}/refused.sock"],
                   check=False)
        expect(done.returncode == 1 and "choose another port" in done.stderr, done.stderr)


def test_an_unprivileged_mpud_serves_them_too():
    with cases_control.system_user() as (name, _):
        for address in addresses():
            with cases_control.another_mpud(f"--user={name}", f"--metrics={address}"):
                samples = scrape(address)
                expect_equal((samples["mpu_driver_answers"], list(
                    by_label(samples, "mpu_gpu_memory_bytes", "container").values())),
                    (1, [64 * MIB]), "who uses the GPU")
