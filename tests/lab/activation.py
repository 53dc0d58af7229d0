"""How the daemon comes to life: sockets by name, READY, credentials, the limit of open files."""

import base64
import hashlib
import hmac
import json

import clients
from lab import RENDERED, SERVICE, TURN_SECRET, expect, wait_until


def first_connection_starts_it(lab):
    lab.fresh(start=False)
    expect(lab.show("ActiveState") == "inactive", lab.show("ActiveState"))
    status, _, _ = clients.get("/health/live")
    expect(status == 200, status)
    # The first answers leave a moment before READY=1 does.
    wait_until("it is active", lambda: lab.show("ActiveState"), lambda state: state == "active")


def every_socket_is_found_by_its_name(lab):
    lab.fresh()
    before = lab.cursor()
    # The names decide, whatever the order in which systemd passes the sockets.
    for order in [lab.sockets, lab.sockets[::-1]]:
        lab.drop_in("[Service]\nSockets=\n" + "".join(f"Sockets={name}\n" for name in order))
        lab.run("systemctl", "daemon-reload")
        lab.restart()
        expect(clients.get("/health/live")[0] == 200, "port 80")
        expect(clients.get("/", port=4444)[2] == b"okay", "port 4444 is the room")
    listening = [line for line in lab.run("cat", "/proc/net/tcp", "/proc/net/tcp6").splitlines() if " 0A " in line]
    ready = [event for event in lab.journal(before) if event["MESSAGE"] == "ready"]
    expect(all(event["HTTP"] == "[::]:80" and event["SIGNALING"] == "[::]:4444" for event in ready), ready)
    expect(len(ready) == 2, listening)


def start_returns_when_it_serves(lab):
    lab.fresh(start=False)
    for _ in range(5):
        lab.run("systemctl", "start", SERVICE)
        expect(lab.show("ActiveState") == "active", "after start")
        expect("serving on" in lab.show("StatusText"), lab.show("StatusText"))
        lab.run("systemctl", "stop", SERVICE)


def without_ready_a_start_fails(lab):
    """Negative control: a program that never says READY."""
    lab.fresh(start=False, drop_in="[Service]\nExecStart=\nExecStart=/bin/sleep infinity\nTimeoutStartSec=1s\nRestart=no\n")
    lab.fails("systemctl", "start", SERVICE)
    expect(lab.show("Result") == "timeout", lab.show("Result"))


def turn_credential():
    answer = json.loads(clients.get("/api/turn")[2])
    return answer["username"], answer["password"]


def credentials_reach_it_and_rotate_by_restart(lab):
    lab.fresh()

    def signed_with(secret):
        name, credential = turn_credential()
        return credential == base64.b64encode(hmac.digest(secret.encode(), name.encode(), hashlib.sha1)).decode()

    expect(signed_with(TURN_SECRET), "the secret of /run/secrets is in use")
    expect(not signed_with("another"), "a control: another secret gives another signature")
    owner = lab.run("stat", "-c", "%u %a", "/run/secrets/turn-secret").split()
    expect(owner == ["0", "400"], f"the file itself belongs to root alone: {owner}")
    lab.write("/run/secrets/turn-secret", "lab-turn-secret-rotated")
    try:
        lab.restart()
        expect(signed_with("lab-turn-secret-rotated"), "the new secret after a restart")
    finally:
        lab.write("/run/secrets/turn-secret", TURN_SECRET)


def a_missing_credential_fails_the_start(lab):
    """With the word that the README explains."""
    lab.fresh(start=False, drop_in="[Service]\nRestart=no\n")
    lab.run("mv", "/run/secrets/turn-secret", "/run/secrets/away")
    try:
        lab.fails("systemctl", "start", SERVICE)
        status = lab.run("systemctl", "status", "--no-pager", SERVICE, check=False)
        expect("status=243/CREDENTIALS" in status, status)
    finally:
        lab.run("mv", "/run/secrets/away", "/run/secrets/turn-secret")


def the_environment_file_reaches_start_and_reload(lab):
    """It may be root's alone; the check of a reload sees the same values as the daemon."""
    unit = (RENDERED.parent / "environment" / SERVICE).read_text()
    line = next(line for line in unit.splitlines() if line.startswith("EnvironmentFile="))
    path = line.partition("=")[2]
    lab.write(path, "SEANCE_HTTP__CORS_ORIGINS=https://a.example\n")
    lab.run("chmod", "0400", path)
    lab.fresh(drop_in=f"[Service]\n{line}\n")
    headers = clients.get("/health/live", {"Origin": "https://a.example"})[1]
    expect(headers["access-control-allow-origin"] == "https://a.example", headers)
    lab.reload()
    # A value that the daemon refuses is seen where it is: at the next reload of systemd's own view of the file.
    lab.write(path, "SEANCE_HTTP__CORS_ORIGNS=https://a.example\n")
    said = lab.refused_reload()
    expect(clients.get("/health/live")[0] == 200, said)


def it_may_open_as_many_files_as_the_unit_says(lab):
    lab.fresh()
    limit = next(line for line in lab.proc("limits").splitlines() if line.startswith("Max open files")).split()
    wanted = int(lab.show("LimitNOFILE"))
    # Without CAP_SYS_RESOURCE the machine cannot give more than it has.
    machine = int(lab.run("sh", "-c", "ulimit -Hn"))
    expect(int(limit[3]) == int(limit[4]) == min(wanted, machine), (limit, wanted, machine))


def out_of_descriptors_it_waits_and_recovers(lab):
    lab.fresh(drop_in="[Service]\nLimitNOFILE=100\n")
    process = lab.main_pid()
    before = lab.cursor()
    held = [clients.http.client.HTTPConnection(clients.HOST, 80, timeout=clients.TIMEOUT) for _ in range(150)]
    for connection in held:
        connection.connect()
    wait_until("the warning", lambda: [e for e in lab.journal(before) if "cannot accept" in e["MESSAGE"]])
    for connection in held:
        connection.close()
    expect(clients.get("/health/live")[0] == 200, "afterwards")
    expect(lab.main_pid() == process, "it was not restarted")


CASES = [
    first_connection_starts_it,
    every_socket_is_found_by_its_name,
    start_returns_when_it_serves,
    without_ready_a_start_fails,
    credentials_reach_it_and_rotate_by_restart,
    a_missing_credential_fails_the_start,
    the_environment_file_reaches_start_and_reload,
    it_may_open_as_many_files_as_the_unit_says,
    out_of_descriptors_it_waits_and_recovers,
]
