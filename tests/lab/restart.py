"""Restarts and a switch under load: nobody is refused, nothing fails, WebSockets are told and come back."""

import collections
import contextlib
import time

import clients
from lab import SERVICE, Failed, expect, wait_until

MANIFEST = b"version: 1.0.0\n"
# The promise is 3 s, from the close frame to the answer to the first message on the new connection.
BACK_SECONDS = 3.0
RESTARTS = 10
# Deploys are short in these cases; a window of seconds is for those that are cut.
CONFIG = "[http]\ndrain_seconds = 5\n"
# A drain shorter than the slow transfers.
WINDOW = "[http]\ndrain_seconds = 1\n"
# The daemon binds its addresses itself, as daemons do.
OWN_SOCKETS = {
    "sockets": False,
    "drop_in": "[Service]\nSockets=\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n"
    "AmbientCapabilities=CAP_NET_BIND_SERVICE\nPrivateUsers=no\n",
}


def start(lab, config=CONFIG, **how):
    lab.fresh(config, **how)
    status, answer = clients.deploy({"releases/latest.yml": MANIFEST})
    expect(status == 200, answer)


def deploys(port=80):
    """A step of `Load`: a deploy of 200 kB that is served as it was sent. A cut one is repeated, as CI does."""
    count = 0

    def step(_):
        nonlocal count
        count += 1
        path, content = f"Seance-1.0.{count}.zip", str(count).encode() * 40_000
        for last in [False, True]:
            try:
                status, answer = clients.deploy({f"releases/{path}": content}, port=port)
                break
            except ConnectionRefusedError:
                raise
            except OSError as error:
                if last:
                    raise clients.Unexpected(f"cut twice: {error!r}") from error
        if status != 200:
            raise clients.Unexpected(f"{status} {answer!r}")
        if clients.get(f"/updates/{path}", port=port)[2] != content:
            raise clients.Unexpected(f"{path} is not what was deployed")

    return step


@contextlib.contextmanager
def under_load(web=80, room=4444):
    """HTTP/1.1, HTTP/2, deploys and WebSockets during the block; fails afterwards when anybody noticed."""
    manifest = "/updates/latest.yml", MANIFEST, web
    loads = [
        clients.Load("HTTP/1.1", clients.fresh_http1(*manifest), threads=2),
        clients.Load("HTTP/1.1 kept", clients.kept_http1(*manifest)),
        clients.Load("HTTP/2", clients.http2(*manifest)),
        clients.Load("deploys", deploys(web)),
    ]
    peers = [clients.Peer("lab", room) for _ in range(20)] + [clients.Peer("lab", web, "/signaling") for _ in range(20)]
    for peer in peers:
        peer.start()
    everybody_is_there(peers)
    with contextlib.ExitStack() as running:
        for load in loads:
            running.enter_context(load)
        for load in loads:
            wait_until(f"{load.name} runs", lambda load=load: load.done)
        yield loads, peers
        everybody_is_there(peers)
        marks = [load.done for load in loads]
        for load, mark in zip(loads, marks):
            wait_until(f"{load.name} goes on", lambda load=load, mark=mark: load.done > mark)
    for peer in peers:
        peer.leave()


def everybody_is_there(peers):
    wait_until("every peer is there", lambda: [str(p.failures) for p in peers if not p.present.is_set()], lambda s: not s)


def nobody_noticed(lab, loads, peers, times):
    for load in loads:
        expect(load.refused == 0 and not load.failures, load)
    failures = [failure for peer in peers for failure in peer.failures]
    expect(not failures, failures[:3])
    closes = collections.Counter((str(peer.port), code) for peer in peers for code in peer.codes)
    expect(set(code for _, code in closes) == {1012} and closes.total() == times * len(peers), closes)
    slowest = max(away for peer in peers for away in peer.away)
    expect(slowest <= BACK_SECONDS, f"a WebSocket was back only after {slowest:.2f} s")
    lab.notes.append(f"{sum(load.done for load in loads)} requests, WebSockets back in {slowest:.2f} s")


# --- What holds with and without TLS: `web` and `room` are the ports ------------------------------------------------


def restarts_are_not_noticed(lab, web=80, room=4444):
    with under_load(web, room) as (loads, peers):
        for _ in range(RESTARTS):
            before = lab.main_pid()
            lab.restart()
            expect(lab.main_pid() != before, "a new process")
            everybody_is_there(peers)
    nobody_noticed(lab, loads, peers, RESTARTS)


def restarts_refuse(lab, web=80):
    load = clients.Load("HTTP/1.1", clients.fresh_http1("/updates/latest.yml", MANIFEST, web), threads=2)
    with load:
        for _ in range(3):
            lab.restart()
    expect(load.refused > 0, load)
    lab.notes.append(f"{load.refused} refused, as they should")


def a_switch_is_not_noticed(lab, web=80, room=4444):
    """What nixos-rebuild does with `stopIfChanged = false`: units change, daemon-reload, reload, restart."""
    other = lab.program.replace("-seance-", "-seance-next-")
    lab.run("sh", "-c", f"mkdir -p $(dirname {other}) && cp {lab.program} {other}")
    with under_load(web, room) as (loads, peers):
        unit = lab.units / SERVICE
        unit.write_text(unit.read_text().replace(lab.program, other))
        lab.configure(CONFIG + "[log]\nfilter = \"info\"\n")
        lab.run("systemctl", "daemon-reload")
        lab.reload()
        lab.restart()
        expect(other in lab.run("readlink", f"/proc/{lab.main_pid()}/exe"), "the new program runs")
    nobody_noticed(lab, loads, peers, 1)


def slow_download(path, offset, until, port=80):
    """Reads a part of `path` from `offset`, then waits for `until`, and reads on as far as it comes."""
    connection = clients.http1(port)
    # A small window, so that the answer does not end up in the kernel's buffers whole.
    connection.connect()
    connection.sock.setsockopt(clients.socket.SOL_SOCKET, clients.socket.SO_RCVBUF, 65536)
    connection.request("GET", path, headers={"Range": f"bytes={offset}-"} if offset else {})
    answer = connection.getresponse()
    content = answer.read(100_000)
    until()
    try:
        while part := answer.read(65536):
            content += part
    except (OSError, clients.http.client.IncompleteRead) as cut:
        content += getattr(cut, "partial", b"")
    return answer, content


def a_cut_download_resumes_by_range(lab, web=80):
    content = bytes(range(256)) * 80_000  # 20 MB
    expect(clients.deploy({"releases/Seance-1.0.0.zip": content}, port=web)[0] == 200, "deploy")
    answer, first = slow_download("/updates/Seance-1.0.0.zip", 0, lab.restart, web)
    expect(answer.status == 200 and len(first) < len(content), f"{answer.status}, {len(first)} bytes: it was to be cut")
    status, headers, rest = clients.get(
        "/updates/Seance-1.0.0.zip", {"Range": f"bytes={len(first)}-", "If-Range": answer.headers["ETag"]}, web
    )
    expect(status == 206, f"the same file under the same ETag: {status} {headers}")
    expect(first + rest == content, "both parts together are the file")


# --- Without TLS ---------------------------------------------------------------------------------------------------


def ten_restarts_under_load_are_not_noticed(lab):
    start(lab)
    restarts_are_not_noticed(lab)


def without_socket_units_restarts_refuse(lab):
    """Negative control."""
    start(lab, CONFIG + '[http]\nlisten = ["[::]:80"]\n[signaling]\nlisten = ["[::]:4444"]\n', **OWN_SOCKETS)
    restarts_refuse(lab)


def a_switch_to_another_version_is_not_noticed(lab):
    start(lab)
    a_switch_is_not_noticed(lab)


def a_switch_that_adds_a_listener_is_not_noticed(lab):
    """The new socket unit comes up with the restart, before its service."""
    start(lab)
    template = next(path for path in lab.units.glob("seance-http-*.socket"))
    added = template.name.replace("80", "8080")
    with under_load() as (loads, peers):
        (lab.units / added).write_text(template.read_text().replace(":80", ":8080"))
        unit = lab.units / SERVICE
        unit.write_text(unit.read_text().replace(f"Sockets={template.name}\n", f"Sockets={template.name}\nSockets={added}\n"))
        lab.configure(CONFIG + '[http]\nlisten = ["[::]:80", "[::]:8080"]\n')
        lab.run("systemctl", "daemon-reload")
        lab.restart()
        lab.run("systemctl", "start", added)
        expect(clients.get("/health/live", port=8080)[0] == 200, "the new listener serves")
    nobody_noticed(lab, loads, peers, 1)


def a_switch_that_moves_a_listener_leaves_the_others_alone(lab):
    """What is gone is stopped first, then the service is restarted, with the socket that is new."""
    start(lab)
    old = next(path for path in lab.units.glob("seance-http-*.socket"))
    new = old.with_name(old.name.replace("80", "8080"))
    peers = [clients.Peer("lab") for _ in range(10)]
    for peer in peers:
        peer.start()
    everybody_is_there(peers)
    lab.run("systemctl", "stop", old.name)
    new.write_text(old.read_text().replace(":80", ":8080"))
    old.unlink()
    unit = lab.units / SERVICE
    unit.write_text(unit.read_text().replace(f"Sockets={old.name}\n", f"Sockets={new.name}\n"))
    lab.configure(CONFIG + '[http]\nlisten = ["[::]:8080"]\n')
    lab.run("systemctl", "daemon-reload")
    lab.restart()
    lab.run("systemctl", "start", new.name)
    expect(clients.get("/updates/latest.yml", port=8080)[2] == MANIFEST, "the new address serves")
    try:
        raise Failed(f"port 80 still answers: {clients.get('/health/live')[0]}")
    except ConnectionRefusedError:
        pass
    everybody_is_there(peers)
    failures = [failure for peer in peers for failure in peer.failures]
    expect(not failures and {code for peer in peers for code in peer.codes} == {1012}, failures)
    for peer in peers:
        peer.leave()


# --- Longer than the drain window ----------------------------------------------------------------------------------


def a_download_longer_than_the_drain_resumes_by_range(lab):
    start(lab, WINDOW)
    a_cut_download_resumes_by_range(lab)


def a_cut_upload_publishes_nothing_and_succeeds_when_repeated(lab):
    start(lab, WINDOW)
    files = {"releases/latest.yml": b"version: 2.0.0\n", "releases/Seance-2.0.0.zip": b"2" * 3_000_000}
    body = clients.deploy_body(files)
    upload = clients.http.client.HTTPConnection(clients.HOST, 80, timeout=clients.TIMEOUT)
    upload.putrequest("POST", "/deploy")
    for name, value in [
        ("X-Builder-Key", clients.BUILDER_KEY),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Expect", "100-continue"),
    ]:
        upload.putheader(name, value)
    upload.endheaders()
    # From here on the deploy is in flight.
    expect(b" 100 " in upload.sock.recv(200), "the daemon asks for the body")
    upload.send(body[: len(body) // 2])
    lab.restart()
    expect(clients.get("/updates/latest.yml")[2] == MANIFEST, "the old release is served")
    expect(clients.get("/updates/Seance-2.0.0.zip")[0] == 404, "nothing of the cut one")
    status, answer = clients.deploy(files)
    expect(status == 200, answer)
    expect(clients.get("/updates/latest.yml")[2] == files["releases/latest.yml"], "the repeated one is served")


def websockets_are_back_in_time_while_a_download_holds_up_the_drain(lab):
    start(lab, "[http]\ndrain_seconds = 8\n")
    content = bytes(20_000_000)
    expect(clients.deploy({"releases/Seance-1.0.0.zip": content})[0] == 200, "deploy")
    peers = [clients.Peer("lab") for _ in range(10)] + [clients.Peer("lab", 80, "/signaling") for _ in range(10)]
    for peer in peers:
        peer.start()
    everybody_is_there(peers)
    slow_download("/updates/Seance-1.0.0.zip", 0, lab.restart)
    everybody_is_there(peers)
    slowest = max(away for peer in peers for away in peer.away)
    codes = {code for peer in peers for code in peer.codes}
    expect(codes == {1012}, codes)
    expect(slowest <= BACK_SECONDS, f"back after {slowest:.2f} s")
    for peer in peers:
        peer.leave()


def the_drain_ends_at_its_deadline(lab):
    start(lab, WINDOW)
    before = lab.cursor()
    content = bytes(20_000_000)
    expect(clients.deploy({"releases/Seance-1.0.0.zip": content})[0] == 200, "deploy")
    begun = time.monotonic()
    slow_download("/updates/Seance-1.0.0.zip", 0, lambda: lab.run("systemctl", "stop", SERVICE))
    took = time.monotonic() - begun
    expect(lab.show("Result") == "success", f"{lab.show('Result')}: it ended by itself")
    expect(lab.show("ExecMainStatus") == "0", lab.show("ExecMainStatus"))
    expect(took < float(lab.show("TimeoutStopUSec").removesuffix("s")), f"{took:.1f} s")
    expect(any("were cut" in event["MESSAGE"] for event in lab.journal(before)), "the journal says what was cut")
    lab.notes.append(f"{took:.1f} s with a window of 1 s")


CASES = [
    ten_restarts_under_load_are_not_noticed,
    without_socket_units_restarts_refuse,
    a_switch_to_another_version_is_not_noticed,
    a_switch_that_adds_a_listener_is_not_noticed,
    a_switch_that_moves_a_listener_leaves_the_others_alone,
    a_download_longer_than_the_drain_resumes_by_range,
    a_cut_upload_publishes_nothing_and_succeeds_when_repeated,
    websockets_are_back_in_time_while_a_download_holds_up_the_drain,
    the_drain_ends_at_its_deadline,
]
