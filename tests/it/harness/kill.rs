//! Kills a daemon at a chosen system call, so that a test visits every point between two of them in turn.
//!
//! The calls of all threads are counted together; the daemon is killed at the entry of the chosen one, which is
//! therefore not done, with all before it done. No clock is involved.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use super::Daemon;

/// A system call as it is entered.
pub struct Call {
    pub number: i64,
    pub arguments: [u64; 3],
}

impl Call {
    /// Whether it changes what a restart finds on the disk.
    pub fn is_durable(&self) -> bool {
        const O_CREAT: u64 = libc::O_CREAT as u64;
        match self.number {
            libc::SYS_openat => self.arguments[2] & O_CREAT != 0,
            // Neither the daemon's own log nor the eight bytes that wake an event loop.
            libc::SYS_write => self.arguments[0] > 2 && self.arguments[2] != 8,
            libc::SYS_fsync
            | libc::SYS_fdatasync
            | libc::SYS_linkat
            | libc::SYS_renameat
            | libc::SYS_renameat2
            | libc::SYS_unlinkat
            | libc::SYS_mkdirat
            | libc::SYS_fchmod => true,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_rename | libc::SYS_unlink => true,
            _ => false,
        }
    }

    /// Whether it hands bytes to a connection.
    pub fn is_sent(&self) -> bool {
        matches!(
            self.number,
            libc::SYS_sendto | libc::SYS_sendmsg | libc::SYS_writev
        )
    }
}

/// Daemons killed side by side; each waits more than it works.
const WORKERS: usize = 4;

/// Visits all points, several at a time; gives what each visit gave.
pub fn sweep<T: Send>(points: &[usize], visit: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let seen = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = visit(*point);
                    seen.lock().expect("outcomes").push(outcome);
                }
            });
        }
    });
    seen.into_inner().expect("outcomes")
}

/// Runs `work` while the daemon is traced, kills the daemon at the `at`th call that `counts` (from 1), or when `work`
/// is done, and tells how many were counted and what `work` gave.
///
/// `work` must not wait for the process, which would take the tracer's events away: see [`is_dead`].
pub fn at_call<T>(
    daemon: &mut Daemon,
    at: usize,
    counts: fn(&Call) -> bool,
    work: impl FnOnce() -> T,
) -> (usize, T) {
    let pid = pid(daemon);
    let (attached, wait) = channel();
    let traced = std::thread::scope(|scope| {
        let tracer = scope.spawn(move || trace(pid, at, counts, &attached));
        wait.recv().expect("the daemon can be traced");
        let result = work();
        kill(pid, Signal::SIGKILL).expect("the daemon can be killed");
        (tracer.join().expect("a count"), result)
    });
    daemon.kill();
    traced
}

pub fn pid(daemon: &Daemon) -> Pid {
    Pid::from_raw(i32::try_from(daemon.child.id()).expect("a process id"))
}

/// Whether a process has ended, perhaps without having been waited for.
pub fn is_dead(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

/// Traces until the process has ended, and leaves that last event to whoever started it.
fn trace(pid: Pid, at: usize, counts: fn(&Call) -> bool, attached: &Sender<()>) -> usize {
    attach(pid);
    attached.send(()).expect("the test waits");
    // Only what this thread traces: the children of other tests are theirs to wait for.
    let ours = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    let look = ours | WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT;
    let mut count = 0;
    loop {
        let event = waitid(Id::All, look).expect("the daemon is traced");
        let task = event.pid().expect("an event of a thread");
        if task == pid && matches!(event, WaitStatus::Exited(..) | WaitStatus::Signaled(..)) {
            return count;
        }
        let signal = match waitpid(task, Some(ours)).expect("the event that was seen") {
            WaitStatus::PtraceSyscall(_) => {
                if entered(task).is_some_and(|call| counts(&call)) {
                    count += 1;
                    if count == at {
                        kill(pid, Signal::SIGKILL).expect("the daemon can be killed");
                    }
                }
                None
            }
            WaitStatus::Stopped(_, signal) if signal != Signal::SIGTRAP => Some(signal),
            WaitStatus::Stopped(..) | WaitStatus::PtraceEvent(..) => None,
            _ => continue,
        };
        match ptrace::syscall(task, signal) {
            // Killed meanwhile.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("cannot resume the daemon: {error}"),
        }
    }
}

/// Attaches to all threads; those that begin later are attached to by the kernel.
fn attach(pid: Pid) {
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE;
    let mut seized = HashSet::new();
    loop {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the daemon's threads");
        let tasks = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
        let new: Vec<i32> = tasks.filter(|task| !seized.contains(task)).collect();
        if new.is_empty() {
            return;
        }
        for task in new {
            seized.insert(task);
            // EPERM: born traced, of a thread seized before.
            match ptrace::seize(Pid::from_raw(task), options) {
                Ok(()) => ptrace::interrupt(Pid::from_raw(task)).expect("a thread stops"),
                Err(Errno::ESRCH | Errno::EPERM) => {}
                Err(error) => panic!("cannot trace the daemon: {error}"),
            }
        }
    }
}

/// The call that a stopped thread enters; `None` when it leaves one.
fn entered(task: Pid) -> Option<Call> {
    let info = ptrace::syscall_info(task).ok()?;
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    let registers = ptrace::getregs(task).ok()?;
    #[cfg(target_arch = "x86_64")]
    return Some(Call {
        number: i64::try_from(registers.orig_rax).ok()?,
        arguments: [registers.rdi, registers.rsi, registers.rdx],
    });
    #[cfg(target_arch = "aarch64")]
    return Some(Call {
        number: i64::try_from(registers.regs[8]).ok()?,
        arguments: [registers.regs[0], registers.regs[1], registers.regs[2]],
    });
}
