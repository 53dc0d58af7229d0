"""Memory: an idle daemon, and a machine of 1 GB in its worst moment.

The limit is set on the whole machine by the memory controller of the host, version 1 or 2, whichever is there.
"""

import contextlib
import pathlib
import random
import socket
import threading

import clients
from lab import Failed, expect, wait_until

IDLE_MB = 20
MACHINE = 1 << 30
PEERS = 5_000
DOWNLOADS = 20
DEPLOY_BYTES = 300_000_000


def megabytes(lab, field):
    line = next(line for line in lab.proc("status").splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024 / 1e6


def an_idle_daemon_is_small(lab):
    lab.fresh()
    expect(clients.get("/health/live")[0] == 200, "it serves")
    resident = megabytes(lab, "VmRSS")
    lab.notes.append(f"{resident:.1f} MB resident, {megabytes(lab, 'RssAnon'):.1f} MB of its own")
    if lab.release:
        expect(resident <= IDLE_MB, f"{resident:.1f} MB")
    else:
        lab.notes.append("not judged: a debug build")


@contextlib.contextmanager
def limited(lab):
    """The machine has 1 GB, without swap; yields its control group."""
    pointer = lab.directory / "memory"
    expect(pointer.exists(), "this host gives no memory controller to the lab: nothing enforces a limit")
    group = pathlib.Path(pointer.read_text().strip())
    name = "memory.limit_in_bytes" if (group / "memory.limit_in_bytes").exists() else "memory.max"
    before = (group / name).read_text().strip()
    (group / name).write_text(str(MACHINE))
    try:
        yield group
    finally:
        (group / name).write_text("-1" if name == "memory.limit_in_bytes" else before)


def out_of_memory_kills(group):
    for file in ["memory.oom_control", "memory.events"]:
        if (group / file).exists():
            counts = dict(line.split() for line in (group / file).read_text().splitlines())
            return int(counts["oom_kill"])
    raise Failed(f"{group} counts no kills")


def the_limit_is_enforced(lab):
    """Negative control: who takes more than the machine has is killed."""
    lab.fresh()
    process = lab.main_pid()
    with limited(lab) as group:
        before = out_of_memory_kills(group)
        # Started by the machine's systemd: what this process starts does not belong to the machine's group.
        lab.fails("systemd-run", "--wait", "--quiet", "python3", "/tests/hog.py")
        expect(out_of_memory_kills(group) > before, f"{group}: nothing was killed")
        lab.notes.append(f"by {group.parent}")
    expect(lab.main_pid() == process, "the daemon was not the one to die")


class Peers(threading.Thread):
    """Many subscribed peers that say nothing more; `lost` counts those the server hung up on."""

    def __init__(self, count):
        super().__init__(daemon=True)
        self.count = count
        self.peers = []

    def run(self):
        for number in range(self.count):
            peer = clients.WebSocket()
            peer.send({"type": "subscribe", "topics": [f"room-{number // 10}"]})
            self.peers.append(peer.socket)

    def lost(self):
        gone = 0
        for peer in self.peers:
            peer.setblocking(False)
            try:
                gone += peer.recv(1, socket.MSG_PEEK) == b""
            except BlockingIOError:
                pass
            except OSError:
                gone += 1
        return gone


def a_machine_of_1_gb_survives_its_worst_moment(lab):
    """A deploy of 300 MB, 5 000 signaling peers and a burst of downloads at once."""
    lab.fresh(
        f"[signaling]\nmax_connections_per_address = {PEERS}\n[updates]\nartifacts = \"serve\"\n"
    )
    artefact = random.Random(1).randbytes(50_000_000)
    expect(clients.deploy({"releases/Seance-1.0.0.zip": artefact})[0] == 200, "the artefact of the burst")
    body = clients.deploy_body({f"releases/Seance-2.0.{n}.zip": artefact for n in range(DEPLOY_BYTES // len(artefact))})
    process = lab.main_pid()
    failures = []

    def watched(work):
        def run():
            try:
                work()
            except Exception as error:
                failures.append(repr(error))

        return threading.Thread(target=run, daemon=True)

    def publish():
        headers = {"X-Builder-Key": clients.BUILDER_KEY, "Content-Type": "application/json"}
        status, _, answer = clients.request("POST", "/deploy", body, headers)
        if status != 200:
            raise clients.Unexpected(f"{status} {answer!r}")

    def download():
        if clients.get("/updates/Seance-1.0.0.zip")[2] != artefact:
            raise clients.Unexpected("not the artefact")

    with limited(lab) as group:
        before = out_of_memory_kills(group)
        peers = Peers(PEERS)
        threads = [watched(publish), *(watched(download) for _ in range(DOWNLOADS))]
        for thread in [peers, *threads]:
            thread.start()
        for thread in [peers, *threads]:
            thread.join(180)
            expect(not thread.is_alive(), "still running after 180 s")
        expect(not failures, failures[:3])
        expect(len(peers.peers) == PEERS and peers.lost() == 0, f"{len(peers.peers)} peers, {peers.lost()} lost")
        expect(out_of_memory_kills(group) == before, "something was killed")
        expect(lab.main_pid() == process, "the same daemon")
        lab.notes.append(f"at most {megabytes(lab, 'VmHWM'):.0f} MB resident")
        for peer in peers.peers:
            peer.close()


CASES = [an_idle_daemon_is_small, the_limit_is_enforced, a_machine_of_1_gb_survives_its_worst_moment]
