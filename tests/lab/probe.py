"""Runs inside, as the program of a unit: tries what each hardening directive forbids. Prints JSON: directive to outcome.

An outcome is "shut" when what was tried did not work the way the directive says, else what happened. Under a unit without
the directives every outcome has to be another one: that run proves that the tries can succeed.
"""

import ctypes
import errno
import json
import mmap
import os
import socket
import stat
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
# x86_64
SYSCALLS = {
    "unshare": 272,
    "personality": 135,
    "sched_setscheduler": 144,
    "syslog": 103,
    "clock_settime": 227,
    "sethostname": 170,
    "keyctl": 250,
    "shmget": 29,
    "setpriority": 141,
    "ptrace": 101,
    "init_module": 175,
}
CLONE_NEWUSER = 0x10000000
SHUT = "shut"


def call(name, *arguments):
    """The result, or the negative errno."""
    number = SYSCALLS[name] if isinstance(name, str) else name
    ctypes.set_errno(0)
    result = libc.syscall(number, *arguments)
    return result if result >= 0 else -ctypes.get_errno()


def in_child(work):
    """The exit status of a child that runs `work`, or the negative signal that ended it: some tries change the process."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(work())
        except OSError as error:
            os._exit(error.errno)
        except BaseException:
            os._exit(255)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status)


def shut_if(condition, seen):
    return SHUT if condition else f"open: {seen}"


def refused(result, *wanted):
    """`result` is an errno of those wanted; EPERM unless told."""
    name = errno.errorcode.get(abs(result), result)
    return SHUT if name in (wanted or ("EPERM",)) else f"open: {name}"


def attempt(work, *wanted):
    try:
        work()
        return "open: it worked"
    except OSError as error:
        return refused(error.errno, *wanted)


def status(field):
    with open("/proc/self/status") as lines:
        return next(line.split(":")[1].strip() for line in lines if line.startswith(field + ":"))


def no_capabilities(field):
    return shut_if(int(status(field), 16) == 0, status(field))


def read_only(directory):
    def create():
        path = f"{directory}/probe"
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        os.unlink(path)

    return attempt(create, "EROFS")


def mmap_writable_and_executable():
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def set_user_id_bit():
    path = "/tmp/probe-setuid"
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o700))
    try:
        os.chmod(path, 0o4700)
    finally:
        os.unlink(path)


def tunables_are_walled():
    """The machine's /sys and /proc/sys are read-only for everybody; the directive puts mounts of its own over them."""
    with open("/proc/self/mountinfo") as lines:
        mounts = [line.split()[4] for line in lines]
    return "/sys/kernel/debug" in mounts


def shared_memory():
    """A System V segment that is left behind on purpose; the lab looks whether it is there after the unit's end."""
    return shut_if(call("shmget", 0x5EA9CE, 4096, 0o1600) >= 0, "no segment could be made")


def x32_call():
    # getpid of the x32 ABI: not native, so the process is killed; without the filter the kernel knows no such call.
    ended = in_child(lambda: -call(0x40000000 | 39))
    return shut_if(ended == -31, ended)


def session_keyring():
    """A keyring of its own is named _ses; an inherited one is the user's, _uid_ses.<uid>."""
    buffer = ctypes.create_string_buffer(200)
    call("keyctl", 6, -3, buffer, 200)
    return shut_if(buffer.value.split(b";")[-1] == b"_ses", buffer.value)


def probes(machine):
    settime = (ctypes.c_long * 2)(-1, -1)  # refused for its value where the call itself is allowed
    return {
        "AmbientCapabilities": lambda: no_capabilities("CapAmb"),
        "CapabilityBoundingSet": lambda: no_capabilities("CapBnd"),
        "DevicePolicy": lambda: attempt(lambda: os.close(os.open("/opt/open/device", os.O_WRONLY))),
        "KeyringMode": session_keyring,
        "LockPersonality": lambda: refused(in_child(lambda: -min(call("personality", 8), 0))),
        "MemoryDenyWriteExecute": lambda: attempt(mmap_writable_and_executable, "EPERM", "EACCES"),
        "NoNewPrivileges": lambda: shut_if(status("NoNewPrivs") == "1", status("NoNewPrivs")),
        "PrivateDevices": lambda: attempt(lambda: os.stat("/dev/lab"), "ENOENT"),
        "PrivateMounts": lambda: shut_if(os.readlink("/proc/self/ns/mnt") != machine["mounts"], "the machine's"),
        "PrivateTmp": lambda: attempt(lambda: os.stat("/tmp/lab-marker"), "ENOENT"),
        "PrivateUsers": lambda: shut_if(os.readlink("/proc/self/ns/user") != machine["users"], "the machine's"),
        "ProcSubset": lambda: attempt(lambda: os.stat("/proc/meminfo"), "ENOENT"),
        "ProtectClock": lambda: refused(call("clock_settime", 0, settime)),
        "ProtectControlGroups": lambda: shut_if(os.statvfs("/sys/fs/cgroup").f_flag & os.ST_RDONLY, "writable"),
        "ProtectHome": lambda: attempt(lambda: os.listdir("/home"), "EACCES"),
        "ProtectHostname": lambda: refused(call("sethostname", b"seance-lab", 10)),
        "ProtectKernelLogs": lambda: refused(call("syslog", 10, None, 0)),
        "ProtectKernelModules": lambda: attempt(lambda: os.listdir("/usr/lib/modules"), "EACCES"),
        "ProtectKernelTunables": lambda: shut_if(tunables_are_walled(), "no mounts of its own"),
        "ProtectProc": lambda: attempt(lambda: os.stat("/proc/1"), "ENOENT"),
        "ProtectSystem": lambda: read_only("/opt/open"),
        "RemoveIPC": shared_memory,
        "RestrictAddressFamilies": lambda: attempt(
            lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(), "EAFNOSUPPORT"
        ),
        "RestrictNamespaces": lambda: refused(in_child(lambda: -call("unshare", CLONE_NEWUSER))),
        "RestrictRealtime": lambda: refused(
            in_child(lambda: -call("sched_setscheduler", 0, 1, (ctypes.c_int * 1)(1)))
        ),
        "RestrictSUIDSGID": lambda: attempt(set_user_id_bit),
        "SecureBits": lambda: shut_if(libc.prctl(27) == 0b11, libc.prctl(27)),
        "SystemCallArchitectures": x32_call,
        "SystemCallErrorNumber": lambda: refused(call("init_module", None, 0, None)),
        "SystemCallFilter": lambda: refused(in_child(lambda: -call("setpriority", 0, 0, 5))),
        "UMask": lambda: shut_if(os.umask(0o22) == 0o77, "another mask"),
        "User": lambda: shut_if(os.getuid() == machine["user"] and os.getgid() == machine["user"], os.getuid()),
        **{f"{name}DirectoryMode": directory(path, machine) for name, path in DIRECTORIES.items()},
    }


DIRECTORIES = {
    "State": "/var/lib/seance",
    "Cache": "/var/cache/seance",
    "Logs": "/var/log/seance",
    "Runtime": "/run/seance",
}


def directory(path, machine):
    """Nobody else's business, and writable."""

    def look():
        try:
            found = os.stat(path)
            os.close(os.open(f"{path}/probe", os.O_CREAT | os.O_WRONLY))
            os.unlink(f"{path}/probe")
        except OSError as error:
            return f"open: {error}"
        return shut_if(stat.S_IMODE(found.st_mode) == 0o700 and found.st_uid == machine["user"], found)

    return look


print(json.dumps({name: probe() for name, probe in probes(json.loads(sys.argv[1])).items()}))
