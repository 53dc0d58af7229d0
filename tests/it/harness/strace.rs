//! Looks at, and meddles with, the system calls of a daemon that runs.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use super::Daemon;
use super::command::path;
use super::wait::wait_until;

/// Attached until it is dropped, or until its daemon ends.
pub struct Strace(Child);

impl Strace {
    /// `strace -f arguments…` on all threads of the daemon, those to come included.
    pub fn attach(daemon: &Daemon, arguments: &[&str]) -> Strace {
        let said = daemon.home().join("strace");
        let child = Command::new("strace")
            .args(["-f", "-o", path(&daemon.home().join("trace"))])
            .args(arguments)
            .args(["-p", &daemon.child.id().to_string()])
            .stderr(Stdio::from(File::create(&said).expect("a file")))
            .spawn()
            .expect("strace runs");
        let said = || std::fs::read_to_string(&said).unwrap_or_default();
        wait_until("strace is attached", said, |said| said.contains("attached"));
        Strace(child)
    }

    /// What it wrote by the end of `daemon`.
    pub fn trace(mut self, daemon: &Daemon) -> String {
        self.0.wait().expect("strace ends with the daemon");
        std::fs::read_to_string(daemon.home().join("trace")).unwrap_or_default()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // The kernel lets go of what it traced; it may have ended by itself.
        let _ended = self.0.kill();
        self.0.wait().expect("an exit status");
    }
}
