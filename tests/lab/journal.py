"""What the daemon writes reaches the journal with its fields, is explained by the catalog, and holds no secret."""

import re

import clients
from lab import CATALOG, ROOT, SERVICE, TURN_SECRET, expect, wait_until

MESSAGES = dict(
    re.findall(r'pub const (\w+): &str = "([0-9a-f]{32})";', (ROOT / "src/systemd.rs").read_text())
)
WRONG_KEY = "lab-wrong-key-55e0"
ROOM_TOKEN = "lab-room-token-1b9d"


def event(lab, since, name):
    """The event of that MESSAGE_ID after `since`."""
    found = wait_until(name, lambda: lab.journal(since, f"MESSAGE_ID={MESSAGES[name]}"))
    return found[-1]


def events_carry_their_fields_and_are_explained(lab):
    lab.fresh(start=False)
    lab.run("systemctl", "start", CATALOG)
    since = lab.cursor()
    lab.run("systemctl", "start", "seance-backend.service")
    ready = event(lab, since, "READY")
    expect((ready["PRIORITY"], ready["_SYSTEMD_UNIT"]) == ("6", "seance-backend.service"), ready)
    expect((ready["HTTP"], ready["SIGNALING"], ready["METRICS"]) == ("[::]:80", "[::]:4444", "127.0.0.1:9464"), ready)

    clients.get("/health/live")
    access = wait_until("the access line", lambda: lab.journal(since, "PATH=/health/live"))[-1]
    expect((access["METHOD"], access["STATUS"], access["COMPLETE"]) == ("GET", "200", "true"), access)

    expect(clients.deploy({"releases/latest.yml": b"version: 1.0.0\n"})[0] == 200, "deploy")
    expect(event(lab, since, "DEPLOY_PUBLISHED")["APP"] == "default", "the app is a field")
    expect(clients.deploy({"../evil": b""})[0] == 400, "refused")
    expect(event(lab, since, "DEPLOY_REFUSED")["DETAILS"], "the reason is a field")

    lab.reload()
    event(lab, since, "RELOADED")
    lab.configure("[http]\ncors_orgins = []\n")
    lab.refused_reload()
    failed = event(lab, since, "RELOAD_FAILED")
    expect(failed["PRIORITY"] == "3" and "did you mean `http.cors_origins`" in failed["ERROR"], failed)
    lab.configure()
    lab.run("systemctl", "stop", "seance-backend.service")
    expect(event(lab, since, "STOPPING")["WINDOW_SECONDS"] == "10", "the window is a field")

    explained = lab.run("journalctl", "-x", f"--after-cursor={since}", "--no-pager")
    for sentence in [
        "Subject: seance is ready",
        "requests are served on [::]:80",
        "Subject: A release of the app default was published",
        "Subject: The configuration of seance was not reloaded",
        "Subject: seance is draining",
    ]:
        expect(sentence in explained, f"not in journalctl -x: {sentence}")


def every_message_has_an_entry_in_the_catalog(lab):
    lab.fresh(start=False)

    def missing():
        listed = lab.run("journalctl", "--list-catalog", "--no-pager").replace("-", "")
        return [name for name, number in MESSAGES.items() if number not in listed]

    lab.run("systemctl", "start", CATALOG)
    expect(MESSAGES and not missing(), missing())
    # Negative control: who takes the module away takes the entries with it.
    lab.run("systemctl", "stop", CATALOG)
    expect(len(missing()) == len(MESSAGES), missing())


def recipes_of_the_readme_find_what_they_say(lab):
    """Each `journalctl` of the README's tables, run as it stands there; what it leaves open is filled in."""
    lab.fresh(start=False)
    lab.run("systemctl", "start", CATALOG)
    lab.run("systemctl", "start", SERVICE)
    expect(clients.deploy({"releases/latest.yml": b"version: 1.0.0\n"})[0] == 200, "deploy")
    request = clients.get("/health/live")[1]["x-request-id"]
    lab.configure("[http]\ncors_orgins = []\n")
    lab.refused_reload()
    lab.run("journalctl", "--sync")
    recipes = set(re.findall(r"`(journalctl [^`]+)`", (ROOT / "README.md").read_text()))
    tried = [recipe for recipe in recipes if not re.search("-f$|--update-catalog|-g certificate", recipe)]
    expect(len(tried) >= 6, recipes)
    for recipe in tried:
        said = lab.run("sh", "-c", recipe.replace("…", request).replace("203.0.113.7", clients.HOST) + " --no-pager")
        expect(said.strip() and "-- No entries --" not in said, f"{recipe} finds nothing")


def no_secret_is_in_the_journal(lab):
    """At the most talkative: key, wrong key, room token, credential; also after a failure of each."""
    since = lab.cursor()
    lab.fresh('[log]\nfilter = "trace"\n')
    expect(clients.deploy({"releases/latest.yml": b"version: 1.0.0\n"})[0] == 200, "deploy")
    expect(clients.deploy({"releases/latest.yml": b""}, key=WRONG_KEY)[0] == 401, "a wrong key")
    clients.get("/api/turn")
    try:
        clients.WebSocket(path=f"/?token={ROOM_TOKEN}")
    except (clients.Unexpected, clients.Closed, OSError):
        pass  # a token that is none may be refused
    clients.get(f"/signaling?token={ROOM_TOKEN}")
    lab.restart()
    text = lab.run("journalctl", "--sync") + lab.run("journalctl", f"--after-cursor={since}", "-o", "export", "--all")
    expect("MESSAGE=ready" in text and len(text) > 10_000, "a control: this is the journal of a talkative daemon")
    found = [secret for secret in [clients.BUILDER_KEY, WRONG_KEY, ROOM_TOKEN, TURN_SECRET] if secret in text]
    expect(not found, found)


CASES = [
    events_carry_their_fields_and_are_explained,
    every_message_has_an_entry_in_the_catalog,
    recipes_of_the_readme_find_what_they_say,
    no_secret_is_in_the_journal,
]
