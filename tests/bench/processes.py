"""Servers under measurement: started on their own core, accounted by the kernel."""

import contextlib
import ctypes
import os
import pathlib
import socket
import subprocess
import time

SERVER_CORE, LOAD_CORE = 0, 1
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Server:
    """A running server process. CPU is utime + stime of all its threads, exited ones included."""

    def __init__(self, pid, addresses=None):
        self.pid = pid
        self.addresses = addresses or {}

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def memory_mb(self, field):
        """`VmRSS` (now), `VmHWM` (peak since `forget_peak`) or `RssAnon` (now), in MB of 10^6 bytes."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024 / 1e6
        raise KeyError(field)

    def settled_mb(self, field, most_seconds=5):
        """`memory_mb` once four looks in a row have shown the same, or when the time is over."""
        seen, end = [], time.monotonic() + most_seconds
        while len(seen) < 4 or len(set(seen[-4:])) > 1:
            if time.monotonic() > end:
                break
            time.sleep(0.05)
            seen.append(self.memory_mb(field))
        return seen[-1]

    def forget_peak(self):
        # "5" resets the peak resident set size to the present one (proc(5), clear_refs).
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")


def run_first(pid):
    """From now on no thread of the process waits for what else the machine does, where the kernel allows that (root):
    one message of a hundred meets such a wait, and makes the 99th percentile the machine's. Whether it was allowed."""
    try:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            os.sched_setscheduler(int(task.name), os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    return True


@contextlib.contextmanager
def spawned(command, cores=(SERVER_CORE,), env=None, cwd=None, log=None):
    """Run `command` pinned to `cores`; killed at the end of the block."""
    child = subprocess.Popen(
        ["taskset", "-c", ",".join(map(str, cores)), *map(str, command)],
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=log or subprocess.DEVNULL,
        stderr=log or subprocess.DEVNULL,
    )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def daemon(binary, state, cores=(SERVER_CORE,), env=None, config=None):
    """The real daemon with its embedded defaults, or a configuration file; yields (Server, seconds from spawn to READY)."""
    notify = pathlib.Path(state).with_suffix(".notify")
    notify.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener, open(f"{state}.log", "ab") as log:
        listener.bind(str(notify))
        listener.settimeout(20)
        settings = {
            "PATH": os.environ["PATH"],
            "NOTIFY_SOCKET": str(notify),
            "STATE_DIRECTORY": str(state),
            "SEANCE_HTTP__LISTEN": "127.0.0.1:0",
            "SEANCE_METRICS__LISTEN": "127.0.0.1:0",
            **(env or {}),
        }
        pathlib.Path(state).mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        arguments = ["--config", config] if config else []
        with spawned([binary, "serve", *arguments], cores, settings, log=log) as child:
            addresses = ready_addresses(listener, child, f"{state}.log")
            yield Server(child.pid, addresses), time.monotonic() - begun


def ready_addresses(listener, child, log):
    """Wait for READY=1; the datagram also carries X_SEANCE_<NAME>=<address> per listener."""
    while True:
        try:
            lines = listener.recv(65536).decode().splitlines()
        except TimeoutError:
            raise RuntimeError(f"not READY within 20 s (exit code {child.poll()}): {pathlib.Path(log).read_text()}") from None
        if "READY=1" in lines:
            return dict(line.split("=", 1) for line in lines if "=" in line)


@contextlib.contextmanager
def nginx(directory, root, sendfile):
    """One nginx worker with Debian's own defaults (tcp_nopush on), large ranges allowed; yields its worker and port."""
    directory.mkdir()
    port = free_port()
    temporary = "".join(f"{kind}_temp_path {directory}/t;\n" for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
    directory.joinpath("nginx.conf").write_text(
        f"""{"user root;" if os.getuid() == 0 else ""}
worker_processes 1; daemon off; pid {directory}/pid; error_log {directory}/error.log;
events {{ worker_connections 768; }}
http {{
  access_log off; sendfile {sendfile}; tcp_nopush on; keepalive_requests 1000000000;
  types {{ text/yaml yml; }} default_type application/octet-stream;
  large_client_header_buffers 4 64k; max_ranges 1000;
  {temporary}
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""
    )
    with spawned(["nginx", "-c", directory / "nginx.conf", "-e", directory / "error.log"]) as master:
        wait_for_port(port)
        children = pathlib.Path(f"/proc/{master.pid}/task/{master.pid}/children")
        yield Server(int(children.read_text().split()[0])), port


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port):
    for _ in range(400):
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.025)
    raise RuntimeError(f"nothing listens on port {port}")


@contextlib.contextmanager
def kept_in_memory(path):
    """Lock a file's pages, so that no run measures the disk: kernels drop page cache while memory is plenty."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    size = ctypes.c_size_t(os.path.getsize(path))
    with open(path, "rb") as file:
        address = ctypes.c_void_p(libc.mmap(None, size, 1, 1, file.fileno(), ctypes.c_size_t(0)))
    if libc.mlock(address, size) != 0:
        raise OSError(ctypes.get_errno(), f"cannot lock {path} in memory (ulimit -l)")
    try:
        yield
    finally:
        libc.munmap(address, size)
