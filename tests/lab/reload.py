"""`systemctl reload` returns when the new configuration is in force; a bad one makes it fail, and changes nothing."""

import clients
from lab import expect

ORIGIN = "https://app.example.com"
WITH_ORIGIN = f'[http]\ncors_origins = ["{ORIGIN}"]\n'
LIVE = b'{"status":"live"}'
BROKEN = "[http]\ncors_orgins = []\n"


def allowed():
    return clients.get("/health/live", {"Origin": ORIGIN})[1]["access-control-allow-origin"]


def reload_returns_with_the_new_configuration_in_force(lab):
    lab.fresh()
    process = lab.main_pid()
    for round in range(20):
        lab.configure(WITH_ORIGIN if round % 2 == 0 else "")
        lab.reload()
        expect(allowed() == (ORIGIN if round % 2 == 0 else None), f"round {round}: {allowed()}")
    expect(lab.main_pid() == process, "it was not restarted")


def bad_configuration_fails_the_reload_and_keeps_serving(lab):
    lab.fresh(WITH_ORIGIN)
    process, before = lab.main_pid(), lab.cursor()
    lab.configure(BROKEN)
    load = clients.Load("HTTP/1.1", clients.fresh_http1("/health/live", LIVE))
    with load:
        for _ in range(5):
            said = lab.refused_reload()
            expect("Job for seance-backend.service failed" in said, said)
    expect(load.done and not load.refused and not load.failures, load)
    expect(allowed() == ORIGIN, "the old configuration is in force")
    expect((lab.show("ActiveState"), lab.main_pid()) == ("active", process), "the daemon goes on")
    expect("reload failed" in lab.show("StatusText"), lab.show("StatusText"))
    # What `nix run .#switch` goes by.
    expect(lab.show("ReloadResult") == "exit-code", lab.show("ReloadResult"))
    errors = lab.journal(before, "-p", "err")
    expect(any("cors_origins" in event.get("ERROR", "") for event in errors), errors)
    # `systemctl status` shows these lines; the program that checks writes them as text.
    said = lab.run("journalctl", f"--after-cursor={before}", "-u", "seance-backend.service", "-o", "cat")
    expect("did you mean `http.cors_origins`" in said, said)
    lab.configure("")
    lab.reload()
    expect(allowed() is None, "a repaired configuration is taken")
    expect(lab.show("ReloadResult") == "success", lab.show("ReloadResult"))


def without_the_check_a_bad_configuration_reloads_as_if_it_were_good(lab):
    """Negative control: SIGHUP alone, which a daemon of `Type=notify-reload` cannot refuse under systemd 257."""
    lab.fresh(WITH_ORIGIN, drop_in="[Service]\nExecReload=\n")
    lab.configure(BROKEN)
    lab.reload()
    expect(allowed() == ORIGIN, "the old configuration is in force")


def a_good_reload_says_nothing_more(lab):
    """The check of each reload must not fill the journal."""
    lab.fresh()
    before = lab.cursor()
    for _ in range(3):
        lab.reload()
    spoken = [event["MESSAGE"] for event in lab.journal(before) if event.get("_TRANSPORT") == "stdout"]
    expect(not spoken, spoken)


def reloads_disturb_nobody(lab):
    lab.fresh()
    peers = [clients.Peer("reload") for _ in range(10)]
    for peer in peers:
        peer.start()
    for peer in peers:
        expect(peer.present.wait(clients.TIMEOUT), peer.failures)
    expect(clients.deploy({"releases/latest.yml": b"version: 1.0.0\n"})[0] == 200, "deploy")
    loads = [
        clients.Load("HTTP/1.1", clients.fresh_http1("/updates/latest.yml", b"version: 1.0.0\n")),
        clients.Load("HTTP/1.1, kept", clients.kept_http1("/updates/latest.yml", b"version: 1.0.0\n")),
        clients.Load("HTTP/2", clients.http2("/updates/latest.yml", b"version: 1.0.0\n")),
    ]
    with loads[0], loads[1], loads[2]:
        for round in range(10):
            lab.configure(WITH_ORIGIN if round % 2 == 0 else "")
            lab.reload()
    for load in loads:
        expect(load.done and not load.refused and not load.failures, load)
    expect(not any(peer.codes or peer.failures for peer in peers), "a WebSocket was closed")
    for peer in peers:
        peer.leave()


CASES = [
    reload_returns_with_the_new_configuration_in_force,
    bad_configuration_fails_the_reload_and_keeps_serving,
    without_the_check_a_bad_configuration_reloads_as_if_it_were_good,
    a_good_reload_says_nothing_more,
    reloads_disturb_nobody,
]
