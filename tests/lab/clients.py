"""Clients that say exactly what happened to them: refused, failed, or answered."""

import base64
import dataclasses
import hashlib
import http.client
import json
import os
import socket
import ssl
import struct
import threading
import time

from lab import BUILDER_KEY

HOST = "127.0.0.1"
NAME = "localhost"
TIMEOUT = 30


@dataclasses.dataclass(frozen=True)
class Tls:
    """A port where TLS is spoken, with a certificate for `NAME` that `root` vouches for. A plain port is a number."""

    port: int
    root: str

    def context(self, *protocols):
        context = ssl.create_default_context(cadata=self.root)
        if protocols:
            context.set_alpn_protocols(protocols)
        return context

    def __str__(self):
        return f"{self.port} (TLS)"


def http1(at):
    """An HTTP/1.1 connection that is not open yet."""
    if isinstance(at, Tls):
        return http.client.HTTPSConnection(NAME, at.port, timeout=TIMEOUT, context=at.context())
    return http.client.HTTPConnection(HOST, at, timeout=TIMEOUT)


def stream(at, *protocols):
    """A connected socket; with TLS one of `protocols` is agreed on."""
    if not isinstance(at, Tls):
        return socket.create_connection((HOST, at), TIMEOUT)
    plain = socket.create_connection((HOST, at.port), TIMEOUT)
    secure = at.context(*protocols).wrap_socket(plain, server_hostname=NAME)
    if protocols and secure.selected_alpn_protocol() not in protocols:
        raise Unexpected(f"{protocols} were offered, {secure.selected_alpn_protocol()} was taken")
    return secure


def get(path, headers=None, port=80):
    """One request on a connection of its own: (status, headers, body)."""
    return request("GET", path, None, headers, port)


def request(method, path, body=None, headers=None, port=80):
    connection = http1(port)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def deploy_body(files):
    """The body of POST /deploy: {path: bytes} in base64."""
    listed = [{"path": path, "content": base64.b64encode(content).decode()} for path, content in files.items()]
    return json.dumps({"files": listed}).encode()


def deploy(files, key=BUILDER_KEY, port=80):
    """(status, body)"""
    headers = {"X-Builder-Key": key, "Content-Type": "application/json"}
    status, _, body = request("POST", "/deploy", deploy_body(files), headers, port)
    return status, body


class Load:
    """`step(state)` again and again in a thread until the end of the block; counts how it went.

    A step returns the state for the next one (an open connection, say). What it raises is a failure; a refused
    connection is counted apart.
    """

    def __init__(self, name, step, threads=1):
        self.name, self.step = name, step
        self.done = self.refused = 0
        self.failures = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.loop, daemon=True) for _ in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join(TIMEOUT + 10)

    def loop(self):
        state = None
        while not self.stopping.is_set():
            try:
                state = self.step(state)
                self.done += 1
            except ConnectionRefusedError:
                self.refused += 1
                state = None
            except Exception as error:  # whatever it is, the case prints it
                self.failures.append(repr(error))
                state = None

    def __str__(self):
        text = f"{self.name}: {self.done} answered, {self.refused} refused, {len(self.failures)} failed"
        return text + (f" (first: {self.failures[0]})" if self.failures else "")


class Unexpected(Exception):
    """An answer that is none of those a client of this service may meet."""


# How a connection looks that the server closed before it read the request.
GONE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


def fresh_http1(path, body, port=80):
    """A step of `Load`: one request on a new connection."""

    def step(_):
        status, _, answer = get(path, port=port)
        if (status, answer) != (200, body):
            raise Unexpected(f"{status} {answer[:200]!r}")

    return step


def kept_http1(path, body, port=80):
    """A step of `Load`: one request on a connection that is kept.

    The server may close a kept connection while a request is on its way; RFC 9112 §9.3.1 has the client repeat it
    once on a new connection, and so every client does. On a new connection nothing is repeated.
    """

    def step(connection):
        used = connection is not None and connection.sock is not None
        connection = connection or http1(port)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
        except GONE:
            if not used:
                raise
            connection.close()
            return step(None)
        content = answer.read()
        if (answer.status, content) != (200, body):
            raise Unexpected(f"{answer.status} {content[:200]!r}")
        return connection

    return step


# RFC 9113 §6
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4


class Http2:
    """One HTTP/2 connection, without TLS with prior knowledge (RFC 9113 §3.3), for small answers: windows are never
    refilled."""

    ANSWERS_MOST = 500

    def __init__(self, port=80):
        self.socket = stream(port, "h2")
        # RFC 7541, static table: GET, and the scheme.
        self.prefix = b"\x82\x87" if isinstance(port, Tls) else b"\x82\x86"
        self.input = self.socket.makefile("rb")
        self.send(SETTINGS, 0, 0, b"", preface=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.next = 1
        self.going = None  # last stream that the server will answer, once it said so

    def send(self, kind, flags, stream, payload, preface=b""):
        head = struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream)
        self.socket.sendall(preface + head + payload)

    def answers(self, path, count):
        """`count` requests at once: their bodies. Fewer when the server goes away: those may be repeated elsewhere."""
        bodies = {}
        for _ in range(count):
            # The names are in the static table; the values are plain text.
            block = self.prefix + b"".join(
                bytes([index, len(value)]) + value for index, value in [(0x04, path.encode()), (0x01, NAME.encode())]
            )
            self.send(HEADERS, END_HEADERS | END_STREAM, self.next, block)
            bodies[self.next] = b""
            self.next += 2
        waiting = set(bodies)
        while waiting:
            head = self.input.read(9)
            if len(head) < 9:
                raise Unexpected(f"closed with streams {waiting} unanswered, GOAWAY named {self.going}")
            kind, flags, stream = struct.unpack("!BBI", head[3:])
            payload = self.input.read(int.from_bytes(head[:3]))
            if kind == DATA:
                bodies[stream] += payload
            elif kind == HEADERS and b"\x88" not in payload[:2]:  # `:status: 200`, perhaps behind a table size
                raise Unexpected(f"stream {stream} answered {payload[:20].hex()}")
            elif kind == RST_STREAM:
                raise Unexpected(f"stream {stream} was reset")
            elif kind in (SETTINGS, PING) and not flags & ACK:
                self.send(kind, ACK, 0, payload if kind == PING else b"")
            elif kind == GOAWAY:
                self.going = struct.unpack("!I", payload[:4])[0]
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                waiting.discard(stream)
            if self.going is not None:
                # RFC 9113 §6.8: streams above the one that it names were not processed.
                waiting = {stream for stream in waiting if stream <= self.going}
        return [body for stream, body in bodies.items() if stream <= (self.going or self.next)]


def http2(path, body, port=80, count=5):
    """A step of `Load`: `count` requests at once on a connection that is kept until the server goes away."""

    def step(connection):
        used = connection is not None
        connection = connection or Http2(port)
        try:
            bodies = connection.answers(path, count)
        except GONE:
            # Closed while nothing was under way; a kept connection may be, see `kept_http1`.
            if not used:
                raise
            return step(None)
        if any(answer != body for answer in bodies):
            raise Unexpected(str(bodies)[:200])
        if connection.going is None and connection.next < 2 * connection.ANSWERS_MOST:
            return connection
        connection.socket.close()
        return None

    return step


class Closed(Exception):
    """The server ended a WebSocket; `code` is what it gave as reason, None for none."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


class WebSocket:
    """RFC 6455, as much as signaling needs: text both ways, ping, close."""

    def __init__(self, port=4444, path="/"):
        self.socket = stream(port)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {NAME}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        self.buffer = b""
        head = self.until(b"\r\n\r\n")
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        if b" 101 " not in head or accept not in head:
            raise Unexpected(head[:200])

    def until(self, end):
        while end not in self.buffer:
            self.more()
        found, self.buffer = self.buffer.split(end, 1)
        return found

    def exactly(self, count):
        while len(self.buffer) < count:
            self.more()
        found, self.buffer = self.buffer[:count], self.buffer[count:]
        return found

    def more(self):
        received = self.socket.recv(65536)
        if not received:
            raise Closed(None)
        self.buffer += received

    def send(self, message, opcode=1):
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        length = len(payload)
        head = bytes([0x80 | length]) if length < 126 else bytes([0x80 | 126]) + struct.pack("!H", length)
        self.socket.sendall(bytes([0x80 | opcode]) + head + mask + masked)

    def receive(self):
        """The next message. A ping of the server is answered on the way."""
        while True:
            first, second = self.exactly(2)
            length = second & 0x7F
            if length == 126:
                length = struct.unpack("!H", self.exactly(2))[0]
            elif length == 127:
                length = struct.unpack("!Q", self.exactly(8))[0]
            payload = self.exactly(length)
            match first & 0x0F:
                case 8:
                    self.socket.close()
                    raise Closed(struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else None)
                case 9:
                    self.send(payload, opcode=10)
                case 1:
                    return json.loads(payload)


class Peer(threading.Thread):
    """One y-webrtc client: subscribes, and comes back whenever it is sent away."""

    def __init__(self, topic, port=4444, path="/"):
        super().__init__(daemon=True)
        self.topic, self.port, self.path = topic, port, path
        self.codes, self.away, self.failures = [], [], []
        self.present = threading.Event()
        self.leaving = False
        self.left = None

    def run(self):
        while not self.leaving:
            try:
                self.attend()
            except Closed as closed:
                self.gone(closed.code)
            except Exception as error:
                if not self.leaving:
                    self.failures.append(repr(error))
                    self.gone(None)

    def attend(self):
        self.socket = WebSocket(self.port, self.path)
        self.socket.send({"type": "subscribe", "topics": [self.topic]})
        self.socket.send({"type": "ping"})
        while True:
            if self.socket.receive() == {"type": "pong"}:
                if self.left is not None:
                    self.away.append(time.monotonic() - self.left)
                    self.left = None
                self.present.set()

    def gone(self, code):
        self.present.clear()
        # An attempt that fails while it is away already belongs to the same absence.
        if self.left is None and not self.leaving:
            self.left = time.monotonic()
            self.codes.append(code)

    def leave(self):
        self.leaving = True
        self.socket.socket.shutdown(socket.SHUT_RDWR)
