"""The load: one HTTP/1.1 connection, cheaper per byte than any server (bodies leave by sendfile, arrive by MSG_TRUNC)."""

import json
import pathlib
import re
import socket
import subprocess


def port_of(server):
    return int(server.addresses["X_SEANCE_HTTP"].rsplit(":", 1)[1])


def builder_key(state):
    return next(pathlib.Path(state).glob("builder*key*")).read_text().strip()


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=300)
        self.discarded = memoryview(bytearray(1 << 20))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def post_file(self, path, file, headers):
        """POST a file's bytes; returns (status, parsed JSON answer)."""
        with open(file, "rb") as body:
            size = body.seek(0, 2)
            lines = [f"POST {path} HTTP/1.1", "host: localhost", f"content-length: {size}", *headers]
            self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
            body.seek(0)
            self.socket.sendfile(body)
        status, length, rest = self.head()
        while len(rest) < length:
            rest += self.socket.recv(65536)
        return status, json.loads(rest)

    def read(self, path):
        """GET a small body."""
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        _, length, rest = self.head()
        while len(rest) < length:
            rest += self.socket.recv(65536)
        return rest

    def get(self, path, headers=()):
        """GET and throw the body away; returns (status, body length)."""
        self.socket.sendall("\r\n".join([f"GET {path} HTTP/1.1", "host: localhost", *headers, "", ""]).encode())
        status, length, rest = self.head()
        left = length - len(rest)
        while left > 0:
            # MSG_TRUNC on TCP drops the bytes in the kernel instead of copying them out (tcp(7)).
            arrived = self.socket.recv_into(self.discarded, min(left, len(self.discarded)), socket.MSG_TRUNC)
            if arrived == 0:
                raise ConnectionError(f"{path}: {left} of {length} bytes missing")
            left -= arrived
        return status, length

    def head(self):
        received = b""
        while b"\r\n\r\n" not in received:
            more = self.socket.recv(4096)
            if not more:
                raise ConnectionError(f"no answer, only {received!r}")
            received += more
        head, rest = received.split(b"\r\n\r\n", 1)
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if not length:
            raise ConnectionError(f"an answer without a length: {head!r}")
        return int(head.split()[1]), int(length[1]), rest


def wrk(url, seconds, connections=64):
    """Requests per second and requests sent, by wrk on the load core; anything but success is an error."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout
    if "Non-2xx" in printed or "Socket errors" in printed:
        raise RuntimeError(printed)
    return float(re.search(r"Requests/sec: *([\d.]+)", printed)[1]), int(re.search(r"(\d+) requests in", printed)[1])
