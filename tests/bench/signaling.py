"""The bars of the signaling room: memory, connects, CPU per delivery, latency, restart, a stalled reader."""

import contextlib
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys

import processes
from table import Table

TOOLS = ["node", "npm", "cargo", "taskset"]
PARTS = ["idle", "connects", "saturation", "steady", "back", "stall"]
HERE = pathlib.Path(__file__).resolve().parent
PEERS = HERE / "peers" / "signaling"
ROOMS = [(100, 10), (10, 100), (1, 1000)]
STEADY = 30_000
IDLE = 10_000
SECONDS = float(os.environ.get("BENCH_SECONDS", "5"))
RUNS = 3
# The columns of `deliveries`.
CPU, _RATE, P99 = range(3)
UNLIMITED = {
    "SEANCE_SIGNALING__LISTEN": "127.0.0.1:0",
    "SEANCE_SIGNALING__MAX_CONNECTIONS": "20000",
    "SEANCE_SIGNALING__MAX_CONNECTIONS_PER_ADDRESS": "20000",
    "SEANCE_SIGNALING__MESSAGES_PER_SECOND": "1000000",
    "SEANCE_SIGNALING__BYTES_PER_SECOND": "1000000000",
}


def measure(table: Table, parts, binary, scratch):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    load = build_load()
    if not (PEERS / "node_modules").exists():
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=PEERS, check=True)
    servers = {"seance": lambda: seance(binary, scratch), "node": node}
    if bun_binary():
        servers["bun"] = bun
    else:
        table.note("Bun could not be installed; its column is missing")
    if "idle" in parts:
        idle(table, load, servers)
    if "connects" in parts:
        connects(table, load, servers)
    for rooms, size in ROOMS:
        if "saturation" in parts:
            saturation(table, load, servers, rooms, size)
        if "steady" in parts:
            steady(table, load, servers, rooms, size)
    if "back" in parts:
        back(table, load, binary, scratch)
    if "stall" in parts:
        stall(table, load, servers["seance"])


def build_load():
    """The load generator, outside the daemon's own dependencies."""
    target = HERE.parent.parent / "target" / "load"
    manifest = HERE / "load" / "Cargo.toml"
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", manifest, "--target-dir", target], check=True)
    return target / "release" / "load"


@contextlib.contextmanager
def seance(binary, scratch, listen="127.0.0.1:0"):
    with processes.daemon(binary, scratch / "signaling", env={**UNLIMITED, "SEANCE_SIGNALING__LISTEN": listen}) as (server, _):
        yield server, server.addresses["X_SEANCE_SIGNALING"]


@contextlib.contextmanager
def node():
    port = processes.free_port()
    with processes.spawned(["node", PEERS / "node_modules/y-webrtc/bin/server.js"], env={**os.environ, "PORT": str(port)}) as child:
        processes.wait_for_port(port)
        yield processes.Server(child.pid), f"127.0.0.1:{port}"


def bun_binary():
    return next(iter(sorted((PEERS / "node_modules").glob("@oven/bun-linux-*/bin/bun"))), None)


@contextlib.contextmanager
def bun():
    port = processes.free_port()
    with processes.spawned([bun_binary(), PEERS / "bun.js", port]) as child:
        processes.wait_for_port(port)
        yield processes.Server(child.pid), f"127.0.0.1:{port}"


def start(load, *arguments):
    return subprocess.Popen(
        ["taskset", "-c", str(processes.LOAD_CORE), str(load), *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def result(child):
    line = child.stdout.readline()
    if not line:
        raise RuntimeError(f"the load ended with {child.wait()}")
    return json.loads(line)


def idle(table, load, servers):
    used = {}
    for name, server in servers.items():
        with server() as (process, address):
            # Not all that is resident: pages of the program come and go with the start.
            before = process.settled_mb("RssAnon")
            with start(load, "idle", address, IDLE) as child:
                result(child)
                used[name] = (process.memory_mb("RssAnon") - before) * 1e6 / IDLE
                child.stdin.close()
    peers = " / ".join(f"{name} {used[name]:.0f}" for name in servers if name != "seance")
    table.row(f"memory per idle connection, {IDLE} open, bytes", f"{used['seance']:.0f}", peers, "", "≤ 2000", used["seance"] <= 2000)


def connects(table, load, servers):
    rates = {name: [] for name in servers}
    for _ in range(RUNS):
        for name, server in servers.items():
            with server() as (_, address), start(load, "connects", address, IDLE) as child:
                rates[name].append(result(child)["connects_per_second"])
    rate = {name: statistics.median(runs) for name, runs in rates.items()}
    peers = " / ".join(f"{name} {rate[name]:.0f}" for name in servers if name != "seance")
    held = rate["seance"] >= min(30_000, 4 * rate["node"])
    table.row("connects per second", f"{rate['seance']:.0f}", peers, f"{rate['seance'] / rate['node']:.1f} × node", "≥ 30000 or 4 × node", held)


def deliveries(load, server, rooms, size, rate, first=False):
    """CPU µs per delivery, deliveries per second, p99 in ms. `first`: before all else that the machine does."""
    with server() as (process, address), start(load, "rooms", address, rooms, size, rate, SECONDS) as child:
        result(child)
        if first and not (processes.run_first(process.pid) and processes.run_first(child.pid)):
            print("not root: latencies are those of a machine that does other things too", file=sys.stderr)
        result(child)
        cpu = -process.cpu_seconds()
        measured = result(child)
        cpu += process.cpu_seconds()
        count = max(measured["deliveries"], 1)
        if rate and not measured["p99_ms"]:
            raise RuntimeError("the machine leaves the load no time to measure latencies")
        return cpu / count * 1e6, count / measured["seconds"], measured["p99_ms"]


def compared(load, servers, rooms, size, rate, first=False):
    """Each server's `deliveries` in each round."""
    found = {name: [] for name in servers}
    for _ in range(RUNS):
        for name, server in servers.items():
            found[name].append(deliveries(load, server, rooms, size, rate, first))
    return found


def middle(rounds):
    return [statistics.median(column) for column in zip(*rounds)]


def against(found, peer, column):
    """A figure of seance divided by a peer's, round by round: what else the machine does in a round burdens both."""
    return statistics.median(own[column] / other[column] for own, other in zip(found["seance"], found[peer]))


def saturation(table, load, servers, rooms, size):
    found = compared(load, servers, rooms, size, 0)
    cpu, rate, _ = middle(found["seance"])
    peers = " / ".join(f"{name} {middle(found[name])[0]:.2f}" for name in servers if name != "seance")
    ratio = f"{against(found, 'bun', CPU):.2f} × bun" if "bun" in found else ""
    table.row(f"CPU per delivery, saturated, {rooms}×{size}, µs", f"{cpu:.2f} ({rate / 1e3:.0f} k/s)", peers, ratio, "≤ 1.1", cpu <= 1.1)


def steady(table, load, servers, rooms, size):
    # CPU as the kernel schedules it usually; latency without what else the machine does. Who never waits for the core
    # finds less to do each time, which costs more.
    found = compared(load, servers, rooms, size, STEADY)
    undisturbed = compared(load, servers, rooms, size, STEADY, first=True)
    rival = "bun" if "bun" in found else "seance"
    cpu, node_cpu, bun_cpu = (middle(found[name])[CPU] for name in ["seance", "node", rival])
    p99, node_p99, bun_p99 = (middle(undisturbed[name])[P99] for name in ["seance", "node", rival])
    by_node, by_bun = against(found, "node", CPU), against(found, rival, CPU)
    p99_by_bun = against(undisturbed, rival, P99)
    work = f"{STEADY} deliveries/s, {rooms}×{size}"
    peers = f"node {node_cpu:.1f} / bun {bun_cpu:.1f}"
    held = by_bun <= 1 and by_node <= 0.6
    table.row(f"{work}: CPU per delivery, µs", f"{cpu:.1f}", peers, f"{by_bun:.2f} × bun, {by_node:.2f} × node", "≤ bun, ≤ 0.6 × node", held)
    table.row(f"{work}: p99, ms", f"{p99:.2f}", f"node {node_p99:.2f} / bun {bun_p99:.2f}", f"{p99_by_bun:.2f} × bun", "≤ bun", p99_by_bun <= 1)


def back(table, load, binary, scratch):
    with seance(binary, scratch) as (_, address):
        child = start(load, "back", address, IDLE)
        result(child)
    with seance(binary, scratch, address), child:
        seconds = result(child)["back_seconds"]
    table.row(f"{IDLE} clients back after a restart, s", f"{seconds:.2f}", "", "", "≤ 3", seconds <= 3)


def stall(table, load, server):
    with server() as (_, address), start(load, "rooms", address, 1, 50, STEADY, SECONDS) as child:
        result(child), result(child)
        usual = result(child)["deliveries"]
    with server() as (process, address), start(load, "stall", address, 50, STEADY, SECONDS) as child:
        result(child)
        before = process.memory_mb("VmRSS")
        result(child)
        beside = result(child)["deliveries"]
        grown = process.memory_mb("VmRSS") - before
    held = grown < 2 and abs(beside / usual - 1) <= 0.1
    table.row("a stalled reader: memory, MB; the others' rate", f"{grown:.1f}; {beside / usual:.3f}", "", "", "flat; within 10 %", held)
