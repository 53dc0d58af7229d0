"""What breaks heals by itself: a wedged daemon, a crash, a configuration with which it cannot start."""

import contextlib
import subprocess
import time

import clients
from lab import SERVICE, Failed, expect, wait_until

# Instead of the unit's 30 s, so that a case takes seconds.
WATCHDOG = "[Service]\nWatchdogSec=2s\n"
# From the repaired file to an answer.
HEAL_SECONDS = 3.0
# Above systemd's back-off of at most 2 s, so that a crash loop has run into it.
CRASHES = 6

BROKEN = '[http]\nlisten = ["[::]:81"]\n'


def replaced(lab, process):
    """Waits until another process serves."""
    wait_until("another process", lambda: lab.main_pid(), lambda pid: pid not in (0, process))
    wait_until("it is active", lambda: lab.show("ActiveState"), lambda state: state == "active")
    expect(clients.get("/health/live")[0] == 200, "it serves")


def a_stopped_process_is_killed_by_the_watchdog(lab):
    lab.fresh(drop_in=WATCHDOG)
    process, before = lab.main_pid(), lab.cursor()
    lab.run("systemctl", "kill", "--kill-whom=main", "-s", "STOP", SERVICE)
    replaced(lab, process)
    expect("Watchdog timeout" in lab.run("journalctl", f"--after-cursor={before}", "-u", SERVICE), "the journal says why")


@contextlib.contextmanager
def wedged(lab, process, threads):
    command = ["nsenter", "-t", str(lab.leader), "-a", "python3", "/tests/wedge.py", str(process), threads]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tracer:
        try:
            expect(tracer.stdout.readline() == "wedged\n", f"threads {threads} of {process} are stopped")
            yield
        finally:
            tracer.kill()


def wedged_workers_are_noticed_though_the_main_thread_lives(lab):
    """A timer alone would go on pinging: the ping is earned by a request through a worker."""
    lab.fresh(drop_in=WATCHDOG)
    process = lab.main_pid()
    with wedged(lab, process, "edge-"):
        replaced(lab, process)


def an_undisturbed_daemon_is_left_alone_by_the_watchdog(lab):
    """Negative control: the same watchdog, nothing wedged, for longer than it took in the cases above."""
    lab.fresh(drop_in=WATCHDOG)
    process = lab.main_pid()
    stamp = lambda: int(lab.show("WatchdogTimestampMonotonic"))
    begun = stamp()
    wait_until("pings for 6 s", stamp, lambda now: now - begun > 6_000_000)
    expect(lab.main_pid() == process, "the same process")


def a_crash_is_not_noticed_by_the_next_client(lab):
    lab.fresh()
    for _ in range(3):
        process = lab.main_pid()
        lab.run("systemctl", "kill", "--kill-whom=main", "-s", "KILL", SERVICE)
        expect(clients.get("/health/live")[0] == 200, "the socket held the connection until the next process came")
        expect(lab.main_pid() != process, "another process")


def crash_loop(lab):
    """The daemon crashes and cannot start again; returns after several attempts."""
    lab.configure(BROKEN)
    lab.run("systemctl", "kill", "--kill-whom=main", "-s", "KILL", SERVICE)


def a_crash_loop_heals_when_the_configuration_is_repaired(lab):
    lab.fresh()
    crash_loop(lab)
    wait_until("a crash loop", lambda: int(lab.show("NRestarts")), lambda count: count >= CRASHES)
    for socket in lab.sockets:
        expect(lab.show("ActiveState", socket) == "active", f"{socket} stays open")
    waiting = clients.http.client.HTTPConnection(clients.HOST, 80, timeout=clients.TIMEOUT)
    waiting.request("GET", "/health/live")  # taken by the socket, refused by nobody
    lab.configure()
    begun = time.monotonic()
    expect(waiting.getresponse().status == 200, "who waited is answered")
    took = time.monotonic() - begun
    expect(took <= HEAL_SECONDS, f"{took:.1f} s")
    lab.notes.append(f"{took:.1f} s")


def with_a_start_limit_a_crash_loop_ends_for_good(lab):
    """Negative control: systemd's default limit, which the unit switches off."""
    lab.fresh(
        drop_in="[Unit]\nStartLimitIntervalSec=60\nStartLimitBurst=3\n"
        "[Service]\nRestartSteps=0\nRestartMaxDelaySec=infinity\nRestartSec=100ms\n"
    )
    crash_loop(lab)
    states = lambda: {lab.show("ActiveState", socket) for socket in lab.sockets}
    wait_until("the sockets are gone", states, lambda states: states == {"failed"})
    lab.configure()
    try:
        clients.get("/health/live")
        raise Failed("answered")
    except ConnectionRefusedError:
        pass


CASES = [
    a_stopped_process_is_killed_by_the_watchdog,
    wedged_workers_are_noticed_though_the_main_thread_lives,
    an_undisturbed_daemon_is_left_alone_by_the_watchdog,
    a_crash_is_not_noticed_by_the_next_client,
    a_crash_loop_heals_when_the_configuration_is_repaired,
    with_a_start_limit_a_crash_loop_ends_for_good,
]
