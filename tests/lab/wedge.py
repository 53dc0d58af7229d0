"""Runs inside: stops single threads of a process for good, as a deadlock would; the others go on.

`wedge.py PID NAME`: every thread whose name begins with NAME. Prints `wedged` and holds them until the process is gone.
"""

import ctypes
import os
import pathlib
import sys

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
WALL = 0x40000000  # __WALL

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]

process, name = sys.argv[1:]
threads = [
    int(task.name)
    for task in pathlib.Path(f"/proc/{process}/task").iterdir()
    if (task / "comm").read_text().startswith(name)
]
for thread in threads:
    for call in [PTRACE_SEIZE, PTRACE_INTERRUPT]:
        if libc.ptrace(call, thread, None, None) != 0:
            raise OSError(ctypes.get_errno(), f"ptrace of thread {thread}")
    os.waitpid(thread, WALL)
print("wedged" if threads else f"no thread named {name}", flush=True)
for thread in threads:
    # Their next news is their end, with the process.
    os.waitpid(thread, WALL)
