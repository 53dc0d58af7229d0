"""Every hardening directive of the unit, tried from inside; the same tries without them are the negative control."""

import json
import re

import clients
from lab import RENDERED, SERVICE, USER, expect, wait_until

# Directives of the service that are no walls.
OTHER = """ExecStart ExecReload Group Type User Restart RestartMaxDelaySec RestartSec RestartSteps WatchdogSec
TimeoutStopSec OOMPolicy LimitNOFILE LoadCredential Sockets Environment StateDirectory CacheDirectory LogsDirectory
RuntimeDirectory X-StopIfChanged ReadWritePaths""".split()


def probe_unit(lab, hardened):
    """The outcomes of tests/lab/probe.py in the rendered unit, or in one that has only its own directories."""
    machine = {
        "mounts": lab.run("readlink", "/proc/1/ns/mnt").strip(),
        "users": lab.run("readlink", "/proc/1/ns/user").strip(),
        "user": USER,
    }
    kept = []
    for line in (RENDERED / SERVICE).read_text().split("[Service]")[1].split("[Install]")[0].splitlines():
        name = line.partition("=")[0]
        if hardened and not re.match(r"ExecStart|Type|Restart|WatchdogSec|Sockets|X-", name):
            kept.append(line)
    program = f"/usr/bin/python3 /tests/probe.py '{json.dumps(machine)}'".replace("%", "%%")
    control = [] if hardened else ["KeyringMode=inherit", "AmbientCapabilities=CAP_NET_RAW"]
    output = ["StandardOutput=file:/run/probe.json", "StandardError=file:/run/probe.err"]
    text = "\n".join(["[Service]", "Type=oneshot", f"ExecStart={program}", *output, *kept, *control, ""])
    (lab.units / "seance-probe.service").write_text(text)
    lab.run("sh", "-c", "rm -f /run/probe.json /run/probe.err")
    lab.run("systemctl", "daemon-reload")
    lab.run("systemctl", "start", "seance-probe.service", check=False)
    errors = lab.run("cat", "/run/probe.err", check=False)
    expect(not errors, errors)
    return json.loads(lab.run("cat", "/run/probe.json"))


def bait(lab):
    """What the walls stand in front of: readable, writable, there for anybody in the machine."""
    lab.fresh(start=False)
    lab.run(
        "sh",
        "-c",
        "mkdir -p /opt/open /home/somebody /usr/lib/modules && chmod 0777 /opt/open && touch /tmp/lab-marker"
        " && for own in lib cache log; do install -d -o root -m 0755 /var/$own/seance; done"
        " && { [ -e /opt/open/device ] || mknod -m 0666 /opt/open/device c 1 11; }"
        " && { [ -e /dev/lab ] || mknod -m 0666 /dev/lab c 1 3; }",
    )


def segments(lab):
    return [line for line in lab.run("cat", "/proc/sysvipc/shm").splitlines() if line.split()[0] == str(0x5EA9CE)]


def every_directive_holds_when_tried(lab):
    bait(lab)
    outcomes = probe_unit(lab, hardened=True)
    holes = {name: outcome for name, outcome in outcomes.items() if outcome != "shut"}
    expect(not holes, holes)
    expect(not segments(lab), f"RemoveIPC: {segments(lab)}")
    written = {line.partition("=")[0] for line in (RENDERED / SERVICE).read_text().split("[Service]")[1].splitlines()}
    directives = {name for name in written if name and not name.startswith("[")} - {"WantedBy", "Alias"}
    untried = directives - set(OTHER) - set(outcomes)
    expect(not untried, f"directives that the probe does not try: {untried}")
    lab.notes.append(f"{len(outcomes)} tried")


def without_the_directives_every_try_succeeds(lab):
    """Negative control."""
    bait(lab)
    outcomes = probe_unit(lab, hardened=False)
    # Everybody may make a segment; what matters is that it stays.
    expect(segments(lab), "the segment stays when nobody removes it")
    lab.run("python3", "-c", "import ctypes; c = ctypes.CDLL(None); c.shmctl(c.shmget(0x5EA9CE, 0, 0), 0, None)")
    dead = [name for name, outcome in outcomes.items() if outcome == "shut" and name != "RemoveIPC"]
    expect(not dead, f"these tries prove nothing: {dead}")


def the_daemon_itself_runs_behind_the_walls(lab):
    lab.fresh()
    status = dict(line.split(":\t", 1) for line in lab.proc("status").splitlines() if ":\t" in line)
    expect(status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", status)
    expect(all(int(status[name], 16) == 0 for name in ["CapEff", "CapPrm", "CapBnd", "CapAmb", "CapInh"]), status)
    expect(status["Uid"].split() == [str(USER)] * 4, status["Uid"])
    expect(clients.deploy({"releases/latest.yml": b"version: 1.0.0\n"})[0] == 200, "and does its work")
    expect(clients.get("/updates/latest.yml")[2] == b"version: 1.0.0\n", "and shows it")


def a_store_on_a_volume_of_its_own_is_writable(lab):
    """The only way out of the service's own directories; without it, the control, nothing can be kept there."""
    unit = (RENDERED.parent / "volume" / SERVICE).read_text()
    way = next(line for line in unit.splitlines() if line.startswith("ReadWritePaths="))
    volume = way.partition("=")[2]
    config = f'[store]\ndirectory = "{volume}"\n'
    # As systemd-tmpfiles makes it by the module's rule.
    lab.run("install", "-d", "-o", "seance", "-g", "seance", "-m", "0700", volume)
    lab.fresh(config, drop_in=f"[Service]\n{way}\n")
    expect(clients.deploy({"releases/latest.yml": b"version: 1.0.0\n"})[0] == 200, "deploy")
    expect(lab.run("ls", volume), "it is kept there")
    lab.run("sh", "-c", f"rm -rf {volume}/* {volume}/.[!.]*")
    lab.fresh(config, start=False)
    lab.run("systemctl", "start", "--no-block", SERVICE)
    wait_until("it cannot write", lambda: lab.run("journalctl", "-n", "30", "-o", "cat"), lambda said: "os error 30" in said)


CASES = [
    every_directive_holds_when_tried,
    without_the_directives_every_try_succeeds,
    the_daemon_itself_runs_behind_the_walls,
    a_store_on_a_volume_of_its_own_is_writable,
]
