"""The machine as the cases see it: units, configuration, the daemon, the journal."""

import ctypes
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RENDERED = ROOT / "tests/nix/rendered/lab"
RENDERED_TLS = ROOT / "tests/nix/rendered/lab-tls"
CATALOG = "seance-catalog.service"
SERVICE = "seance-backend.service"
USER = 979
CEILING = 60

CLONE_NEWNET = 0x40000000

BUILDER_KEY = "lab-builder-key-7f3a"
TURN_SECRET = "lab-turn-secret-c41d"


class Failed(Exception):
    """A case that did not hold; the text is what was seen."""


def expect(condition, seen):
    if not condition:
        raise Failed(str(seen))


def wait_until(what, look, good=bool, ceiling=CEILING):
    """Looks until `good` likes what `look` returns, and returns that. An exception of `look` is something seen, too."""
    deadline = time.monotonic() + ceiling
    while True:
        try:
            seen = look()
            if good(seen):
                return seen
        except (OSError, subprocess.CalledProcessError) as error:
            seen = repr(error)
        if time.monotonic() > deadline:
            raise Failed(f"waited {ceiling} s for: {what}; last seen: {seen}")
        time.sleep(0.02)


class Lab:
    def __init__(self, directory, root, binary, release):
        self.directory = pathlib.Path(directory)
        self.root = root
        self.binary = pathlib.Path(binary)
        self.release = release
        self.leader = None
        self.rendered = RENDERED
        # What a case measured; stands behind its name.
        self.notes = []

    # --- The machine ---

    def up(self):
        """Boots, and moves this process into the machine's network: what it connects to is the machine's."""
        self.units = self.directory / "units"
        self.units.mkdir(parents=True)
        (self.units / "lab.target").write_text(
            "[Unit]\nRequires=basic.target dbus.socket\nAfter=basic.target\nAllowIsolate=yes\n"
        )
        subprocess.run([HERE / "machine", "up", self.directory, self.root], check=True)
        self.leader = int((self.directory / "leader").read_text())
        with open(f"/proc/{self.leader}/ns/net") as network:
            if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        self.install()

    def down(self):
        subprocess.run([HERE / "machine", "down", self.directory], check=True)

    def run(self, *command, check=True, text=None):
        """A command inside; its standard output."""
        entered = ["nsenter", "-t", str(self.leader), "-a", "--", *map(str, command)]
        done = subprocess.run(entered, capture_output=True, text=True, input=text)
        if check and done.returncode != 0:
            raise Failed(f"{' '.join(map(str, command))}: {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def fails(self, *command):
        """A command inside that must not succeed; what it wrote."""
        entered = ["nsenter", "-t", str(self.leader), "-a", "--", *map(str, command)]
        done = subprocess.run(entered, capture_output=True, text=True)
        expect(done.returncode != 0, f"{' '.join(command)} succeeded")
        return done.stdout + done.stderr

    def write(self, path, text):
        """A file inside; whole or not at all."""
        self.run("sh", "-c", f"mkdir -p $(dirname {path}) && cat >{path}.new && mv {path}.new {path}", text=text)

    # --- seance ---

    def install(self):
        """The user, the program under the path that the rendered unit names, the credentials, the catalog."""
        self.run("groupadd", "-g", USER, "seance")
        self.run("useradd", "-u", USER, "-g", USER, "-d", "/var/lib/seance", "-M", "seance")
        unit = (RENDERED / SERVICE).read_text()
        program = next(line for line in unit.splitlines() if line.startswith("ExecStart=")).split()[0]
        self.program = program.removeprefix("ExecStart=")
        inside = self.directory / "store" / pathlib.Path(self.program).relative_to("/nix/store")
        inside.parent.mkdir(parents=True)
        shutil.copy(self.binary, inside)
        self.write("/run/secrets/turn-secret", TURN_SECRET)
        self.run("chmod", "0400", "/run/secrets/turn-secret")
        self.supply((RENDERED / CATALOG).read_text())
        for file in ["probe.py", "wedge.py", "hog.py"]:
            shutil.copy(HERE / file, self.directory / "tests")

    def supply(self, unit):
        """What a unit names in the Nix store, from here: the machine's own programs, and the catalog."""
        commands = "\n".join(line for line in unit.splitlines() if line.startswith("Exec"))
        for name in set(re.findall(r"/nix/store/\S+", commands)):
            inside = self.directory / "store" / pathlib.Path(name).relative_to("/nix/store")
            inside.parent.mkdir(parents=True, exist_ok=True)
            if inside.parent.name == "bin":
                inside.symlink_to(f"/usr/bin/{inside.name}")
            else:
                shutil.copy(ROOT / "nix/seance.catalog", inside)

    @property
    def sockets(self):
        return sorted(path.name for path in self.units.glob("seance-*.socket"))

    def fresh(self, config="", drop_in="", sockets=True, start=True, rendered=RENDERED):
        """A daemon that has never run: the rendered units, `config` after what every case needs, perhaps a drop-in."""
        self.rendered = rendered
        # Patterns, which name only what is there.
        self.run("systemctl", "stop", "seance-*.service", "seance-*.socket")
        self.run("systemctl", "reset-failed")
        for old in [*self.units.glob("seance-*")]:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        for file in rendered.iterdir():
            if file.suffix in (".service", ".socket") and (sockets or file.suffix == ".service"):
                shutil.copy(file, self.units)
        if drop_in:
            self.drop_in(drop_in)
        self.run("sh", "-c", "rm -rf /var/lib/seance/* /var/lib/seance/.[!.]*")
        self.configure(config)
        self.run("systemctl", "daemon-reload")
        if sockets:
            self.run("systemctl", "start", *self.sockets)
        if start:
            self.run("systemctl", "start", SERVICE)

    def drop_in(self, text, unit=SERVICE):
        directory = self.units / f"{unit}.d"
        directory.mkdir(exist_ok=True)
        (directory / "lab.conf").write_text(text)

    def configure(self, more=""):
        text = (self.rendered / "config.toml").read_text()
        self.write("/etc/seance/config.toml", merged(text, more))

    def reload(self):
        self.run("systemctl", "reload", SERVICE)

    def refused_reload(self):
        """A reload that must not succeed; what it wrote."""
        return self.fails("systemctl", "reload", SERVICE)

    def restart(self):
        self.run("systemctl", "restart", SERVICE)

    def show(self, name, unit=SERVICE):
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def main_pid(self):
        return int(self.show("MainPID"))

    def proc(self, file):
        """A file below /proc of the daemon."""
        return self.run("cat", f"/proc/{self.main_pid()}/{file}")

    # --- The journal ---

    def cursor(self):
        """Where the journal ends now."""
        self.run("journalctl", "--sync")
        return self.run("journalctl", "-n", "0", "--show-cursor").strip().rpartition("-- cursor: ")[2]

    def last_words(self, since):
        """The end of the journal after `since`, for who reads about a failure."""
        lines = self.run("journalctl", f"--after-cursor={since}", "--no-pager", "-o", "short-precise", check=False)
        return lines.splitlines()[-15:]

    def journal(self, since, *arguments):
        """What the daemon itself wrote after `since`."""
        self.run("journalctl", "--sync")
        lines = self.run(
            "journalctl", f"--after-cursor={since}", "-o", "json", "--all", "SYSLOG_IDENTIFIER=seance", *arguments
        )
        return [json.loads(line) for line in lines.splitlines()]


def merged(text, more):
    """`more` wins over `text`, section by section, key by key."""
    sections = {}
    name = ""
    for line in [*text.splitlines(), *more.splitlines()]:
        line = line.strip()
        if line.startswith("["):
            name = line
            sections.setdefault(name, {})
        elif line and not line.startswith("#"):
            sections.setdefault(name, {})[line.split("=")[0].strip()] = line
    return "".join(f"{name}\n" + "".join(f"{line}\n" for line in keys.values()) for name, keys in sections.items())
