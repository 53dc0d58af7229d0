"""What goes over the wire to a draft: of an upload that was killed, and of a build that is there."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading

import processes
from load import builder_key, port_of

SIZE = 200_000_000
PART, WORKERS, KILLS = 8 * 1024 * 1024, 4, 5
# Request heads, declarations and commands of one run: more than they are.
TALK = 200_000


def uploads(table, binary, scratch):
    state, most_again = scratch / "uploads", 0
    with processes.daemon(binary, state) as (server, _), contextlib.closing(Wire(port_of(server))) as wire:
        client = Client(binary, scratch, wire.port, builder_key(state))
        for kill in range(1, KILLS + 1):
            build = client.build(f"1.{kill}.0")
            begun = wire.passed
            killed = client.start(build)
            wire.wait_for(begun + SIZE * kill // (KILLS + 1), killed)
            killed.send_signal(signal.SIGKILL)
            killed.wait()
            client.finish(build)
            most_again = max(most_again, wire.passed - begun - SIZE)
        begun = wire.passed
        if client.finish(build)["sent"]["bytes"] != 0:
            raise RuntimeError("an unchanged build was sent again")
        unchanged = wire.passed - begun
    bar = WORKERS * PART + 2 * TALK
    table.row(
        f"{SIZE / 1e6:.0f} MB upload, killed and gone on with: sent again",
        f"{most_again / 1e6:.1f} MB, the most of {KILLS} kills",
        bar=f"≤ a part per worker, {bar / 1e6:.1f} MB with all heads",
        held=most_again <= bar,
    )
    share = unchanged / SIZE
    table.row("an unchanged build of that size", f"{unchanged} bytes", ratio=f"{share:.5%}", bar="< 1 % of the bytes", held=share < 0.01)


class Client:
    """`seance publish` over the wire."""

    def __init__(self, binary, scratch, port, key):
        self.command = [binary, "publish", "--to", f"http://127.0.0.1:{port}", "--parallel", str(WORKERS), "--json"]
        self.scratch = scratch
        self.environment = {"HOME": str(scratch), "BUILDER_KEY": key}

    def build(self, version):
        """One installer that is like no other."""
        directory = self.scratch / f"build-{version}"
        directory.mkdir()
        directory.joinpath(f"Notes-{version}.dmg").write_bytes(os.urandom(SIZE))
        return directory

    def start(self, build):
        return subprocess.Popen([*self.command, build], env=self.environment, stdout=subprocess.PIPE)

    def finish(self, build):
        with self.start(build) as child:
            outcome = json.loads(child.stdout.read())
        if child.returncode != 0 or not outcome["published"]:
            raise RuntimeError(f"seance publish: {outcome}")
        return outcome


class Wire:
    """A way to the daemon that counts the bytes that clients send."""

    def __init__(self, server):
        self.server, self.passed, self.changed = server, 0, threading.Condition()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.server))
            for ends in [(client, server, True), (server, client, False)]:
                threading.Thread(target=self.pump, args=ends, daemon=True).start()

    def pump(self, source, target, counted):
        with contextlib.suppress(OSError):
            while chunk := source.recv(1 << 18):
                target.sendall(chunk)
                if counted:
                    with self.changed:
                        self.passed += len(chunk)
                        self.changed.notify_all()
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def wait_for(self, passed, child):
        with self.changed:
            if not self.changed.wait_for(lambda: self.passed >= passed, timeout=300):
                raise RuntimeError(f"only {self.passed} bytes came; the client's exit code is {child.poll()}")
