"""The same over TLS: 443 and 4444 are found by name, and nobody notices a restart, a switch or a reload."""

import clients
from lab import RENDERED_TLS, SERVICE, expect, wait_until
from restart import (
    CONFIG,
    MANIFEST,
    OWN_SOCKETS,
    WINDOW,
    a_cut_download_resumes_by_range,
    a_switch_is_not_noticed,
    restarts_are_not_noticed,
    restarts_refuse,
)


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
    restarts_are_not_noticed(lab, *start(lab))


def a_switch_under_tls_load_is_not_noticed(lab):
    a_switch_is_not_noticed(lab, *start(lab))


def without_socket_units_restarts_refuse_handshakes(lab):
    """Negative control."""
    own = '[http]\nlisten = ["[::]:80"]\n[https]\nlisten = ["[::]:443"]\n[signaling]\nlisten = ["[::]:4444"]\n'
    web, _ = start(lab, CONFIG + own, **OWN_SOCKETS)
    restarts_refuse(lab, web)


def a_download_over_tls_resumes_by_range(lab):
    web, _ = start(lab, WINDOW)
    a_cut_download_resumes_by_range(lab, web)


CASES = [
    every_tls_socket_is_found_by_its_name,
    the_first_handshake_starts_it,
    ten_restarts_under_tls_load_are_not_noticed,
    a_switch_under_tls_load_is_not_noticed,
    without_socket_units_restarts_refuse_handshakes,
    a_download_over_tls_resumes_by_range,
]
