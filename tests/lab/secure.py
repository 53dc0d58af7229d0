"""The same over TLS: 443 and 4444 are found by name, and nobody notices a restart, a switch or a reload."""

import clients
from lab import RENDERED_TLS, SERVICE, expect, wait_until
from restart import CONFIG, MANIFEST, RESTARTS, everybody_is_there, nobody_noticed, slow_download, under_load

WINDOW = "[http]\ndrain_seconds = 1\n"


def start(lab, config=CONFIG, **how):
    """The two TLS ports of a fresh daemon, and the root of its own CA, which is made at its first start."""
    lab.fresh(config, rendered=RENDERED_TLS, **how)
    root = (lab.directory / "seance/local-ca/root.pem").read_text()
    web, room = clients.Tls(443, root), clients.Tls(4444, root)
    status, answer = clients.deploy({"releases/latest.yml": MANIFEST}, port=web)
    expect(status == 200, answer)
    return web, room


def every_tls_socket_is_found_by_its_name(lab):
    web, room = start(lab)
    before = lab.cursor()
    for order in [lab.sockets, lab.sockets[::-1]]:
        lab.drop_in("[Service]\nSockets=\n" + "".join(f"Sockets={name}\n" for name in order))
        lab.run("systemctl", "daemon-reload")
        lab.restart()
        expect(clients.get("/updates/latest.yml", port=web)[2] == MANIFEST, "port 443 serves")
        status, headers, _ = clients.get("/ui", {"Host": clients.NAME})
        expect((status, headers["location"]) == (308, "https://localhost/ui"), f"port 80 redirects: {status}")
        expect(clients.get("/", port=room)[2] == b"okay", "port 4444 is the room, with TLS")
        expect(clients.get("/", port=4444)[2] == b"okay", "and without")
    ready = [event for event in lab.journal(before) if event["MESSAGE"] == "ready"]
    fields = [(event["HTTP"], event["HTTPS"], event["SIGNALING"]) for event in ready]
    expect(fields == [("[::]:80", "[::]:443", "[::]:4444")] * 2, fields)


def the_first_handshake_starts_it(lab):
    web, room = start(lab)
    for port, path in [(web, "/health/live"), (room, "/")]:
        lab.run("systemctl", "stop", SERVICE)
        expect(lab.show("ActiveState") == "inactive", lab.show("ActiveState"))
        expect(clients.get(path, port=port)[0] == 200, port)
        # The first answers leave a moment before READY=1 does.
        wait_until("it is active", lambda: lab.show("ActiveState"), lambda state: state == "active")


def ten_restarts_under_tls_load_are_not_noticed(lab):
    web, room = start(lab)
    with under_load(web, room) as (loads, peers):
        for _ in range(RESTARTS):
            before = lab.main_pid()
            lab.restart()
            expect(lab.main_pid() != before, "a new process")
            everybody_is_there(peers)
    nobody_noticed(lab, loads, peers, RESTARTS)


def a_switch_under_tls_load_is_not_noticed(lab):
    web, room = start(lab)
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


def without_socket_units_restarts_refuse_handshakes(lab):
    """Negative control: the daemon binds its addresses itself, as daemons do."""
    own = '[http]\nlisten = ["[::]:80"]\n[https]\nlisten = ["[::]:443"]\n[signaling]\nlisten = ["[::]:4444"]\n'
    web, _ = start(
        lab,
        CONFIG + own,
        sockets=False,
        drop_in="[Service]\nSockets=\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n"
        "PrivateUsers=no\n",
    )
    load = clients.Load("HTTP/1.1", clients.fresh_http1("/updates/latest.yml", MANIFEST, web), threads=2)
    with load:
        for _ in range(3):
            lab.restart()
    expect(load.refused > 0, load)
    lab.notes.append(f"{load.refused} refused, as they should")


def a_download_over_tls_resumes_by_range(lab):
    web, _ = start(lab, WINDOW)
    content = bytes(range(256)) * 80_000  # 20 MB
    expect(clients.deploy({"releases/Seance-1.0.0.zip": content}, port=web)[0] == 200, "deploy")
    answer, first = slow_download("/updates/Seance-1.0.0.zip", 0, lab.restart, web)
    expect(answer.status == 200 and len(first) < len(content), f"{answer.status}, {len(first)} bytes: it was to be cut")
    status, headers, rest = clients.get(
        "/updates/Seance-1.0.0.zip", {"Range": f"bytes={len(first)}-", "If-Range": answer.headers["ETag"]}, web
    )
    expect(status == 206, f"the same file under the same ETag: {status} {headers}")
    expect(first + rest == content, "both parts together are the file")


CASES = [
    every_tls_socket_is_found_by_its_name,
    the_first_handshake_starts_it,
    ten_restarts_under_tls_load_are_not_noticed,
    a_switch_under_tls_load_is_not_noticed,
    without_socket_units_restarts_refuse_handshakes,
    a_download_over_tls_resumes_by_range,
]
