//! One daemon in a state directory of its own, on free ports, ready when `start` returns.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::http;
use super::wait::{CEILING, wait_until};

/// What `Builder::start` gives: the process, its addresses and its notifications.
pub struct Daemon {
    pub child: Child,
    pub http: SocketAddr,
    /// Where TLS is spoken, when a host has a certificate.
    pub https: Option<SocketAddr>,
    pub metrics: Option<SocketAddr>,
    pub signaling: Option<SocketAddr>,
    /// Every address of the HTTP listener; `http` is the first.
    pub http_addresses: Vec<SocketAddr>,
    notify: UnixDatagram,
    log: PathBuf,
    home: Home,
}

/// A directory that the test made for one daemon only, or shares between several runs.
enum Home {
    Own(tempfile::TempDir),
    Shared(PathBuf),
}

pub struct Builder {
    command: Command,
    home: Home,
    config: Option<String>,
    wrapper: Vec<String>,
}

impl Builder {
    /// A daemon on free ports of loopback, with `config` (TOML) as its configuration file when there is one.
    pub fn new() -> Builder {
        let home = tempfile::tempdir().expect("a temporary directory");
        Builder::in_home(Home::Own(home))
    }

    /// A daemon that lives where an earlier one did.
    pub fn at(home: &Path) -> Builder {
        Builder::in_home(Home::Shared(home.to_owned()))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "of this environment a daemon sees only PATH"
    )]
    fn in_home(home: Home) -> Builder {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seance"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("SEANCE_HTTP__LISTEN", "127.0.0.1:0")
            .env("SEANCE_HTTPS__LISTEN", "127.0.0.1:0")
            .env("SEANCE_METRICS__LISTEN", "127.0.0.1:0")
            .env("SEANCE_SIGNALING__LISTEN", "127.0.0.1:0");
        Builder {
            command,
            home,
            config: None,
            wrapper: Vec::new(),
        }
    }

    /// Moves the daemon to where an earlier one lived.
    pub fn living_in(mut self, home: &Path) -> Builder {
        self.home = Home::Shared(home.to_owned());
        self
    }

    pub fn config(mut self, toml: &str) -> Builder {
        self.config = Some(toml.to_owned());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Builder {
        self.command.env(name, value);
        self
    }

    pub fn env_remove(mut self, name: &str) -> Builder {
        self.command.env_remove(name);
        self
    }

    /// Runs the daemon under another command, `["strace", "-f"]`.
    pub fn under(mut self, wrapper: &[&str]) -> Builder {
        self.wrapper = wrapper.iter().map(ToString::to_string).collect();
        self
    }

    /// Starts the daemon and waits for READY=1.
    pub fn start(self) -> Daemon {
        match self.try_start() {
            Ok(daemon) => daemon,
            Err((status, log)) => panic!("the daemon ended before it was ready ({status}):\n{log}"),
        }
    }

    /// `Err` is how the daemon ended, and its log, when it did not become ready.
    pub fn try_start(mut self) -> Result<Daemon, (ExitStatus, String)> {
        let home = self.home.path().to_owned();
        std::fs::create_dir_all(home.join("state")).expect("a state directory");
        let socket = home.join("notify");
        let _absent = std::fs::remove_file(&socket); // left by an earlier daemon in this home, if any
        let notify = UnixDatagram::bind(&socket).expect("a notification socket");
        let log = home.join("log");
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log file");
        self.command.arg("serve");
        if let Some(config) = &self.config {
            let file = home.join("config.toml");
            std::fs::write(&file, config).expect("a configuration file");
            self.command.arg("--config").arg(file);
        }
        self.command
            .env("NOTIFY_SOCKET", &socket)
            .env("STATE_DIRECTORY", home.join("state"));
        let mut command = wrap(self.command, &self.wrapper);
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a log file"))
            .stderr(output);
        let mut child = command.spawn().expect("the daemon starts");
        let Some(notified) = ready(&notify, &mut child) else {
            let status = child.wait().expect("an exit status");
            return Err((status, std::fs::read_to_string(&log).unwrap_or_default()));
        };
        let addresses = |name: &str| -> Vec<SocketAddr> {
            let found = notified.iter().find(|(key, _)| key == name);
            let list = found.map_or("", |(_, list)| list.as_str());
            list.split(',')
                .filter_map(|address| address.parse().ok())
                .collect()
        };
        let http_addresses = addresses("X_SEANCE_HTTP");
        let http = *http_addresses
            .first()
            .expect("READY=1 carries the HTTP address");
        let https = addresses("X_SEANCE_HTTPS").first().copied();
        let metrics = addresses("X_SEANCE_METRICS").first().copied();
        let signaling = addresses("X_SEANCE_SIGNALING").first().copied();
        Ok(Daemon {
            child,
            http,
            https,
            metrics,
            signaling,
            http_addresses,
            notify,
            log,
            home: self.home,
        })
    }
}

/// Environment and arguments of `command`, run by `wrapper`.
fn wrap(command: Command, wrapper: &[String]) -> Command {
    let Some((program, arguments)) = wrapper.split_first() else {
        return command;
    };
    let mut wrapped = Command::new(program);
    wrapped
        .args(arguments)
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear();
    wrapped.envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    wrapped
}

/// The fields of the READY=1 message; `None` when the daemon ended without one.
fn ready(notify: &UnixDatagram, child: &mut Child) -> Option<Vec<(String, String)>> {
    let fields = wait_for(notify, "READY=1", || {
        child.try_wait().expect("the daemon's state").is_some()
    })?;
    let fields = fields.lines().filter_map(|line| line.split_once('='));
    Some(
        fields
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    )
}

fn wait_for(
    notify: &UnixDatagram,
    wanted: &str,
    mut ended: impl FnMut() -> bool,
) -> Option<String> {
    notify
        .set_read_timeout(Some(Duration::from_millis(20)))
        .expect("a read timeout");
    let mut buffer = [0; 4096];
    let started = std::time::Instant::now();
    let mut seen = Vec::new();
    loop {
        let gone = ended();
        while let Ok(length) = notify.recv(&mut buffer) {
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.lines().any(|line| line == wanted) {
                return Some(message);
            }
            seen.push(message);
        }
        if gone {
            return None;
        }
        assert!(
            started.elapsed() < CEILING,
            "no {wanted} came; seen: {seen:?}"
        );
    }
}

impl Home {
    fn path(&self) -> &Path {
        match self {
            Home::Own(directory) => directory.path(),
            Home::Shared(path) => path,
        }
    }
}

impl Daemon {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn state(&self) -> PathBuf {
        self.home().join("state")
    }

    #[track_caller]
    pub fn https(&self) -> SocketAddr {
        self.https.expect("READY=1 carries the HTTPS address")
    }

    /// What the metrics listener answers.
    #[track_caller]
    pub fn metrics_text(&self) -> String {
        let listener = self.metrics.expect("READY=1 carries the metrics address");
        http::get(listener, "/metrics").text()
    }

    /// The value of a metric, by its name with labels.
    #[track_caller]
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.metrics_text();
        value(&text, name).unwrap_or_else(|| panic!("no {name} in\n{text}"))
    }

    /// The same; 0 for labels that were never counted.
    #[track_caller]
    pub fn counted(&self, name: &str) -> u64 {
        value(&self.metrics_text(), name).unwrap_or(0)
    }

    /// Memory that is the daemon's own (`RssAnon`), KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).expect("the daemon's status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number
            .and_then(|number| number.parse().ok())
            .expect("a number")
    }

    /// The root of the local CA.
    pub fn local_root(&self) -> PathBuf {
        self.state().join("local-ca/root.pem")
    }

    /// The key that a daemon without a configuration file made.
    pub fn builder_key(&self) -> String {
        let key = std::fs::read_to_string(self.state().join("builder-key")).expect("a builder key");
        key.trim_end().to_owned()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::try_from(signal).expect("a signal"),
        )
        .expect("the daemon can be signalled");
    }

    /// Waits for a notification that holds the line `wanted`.
    pub fn notification(&self, wanted: &str) -> String {
        wait_for(&self.notify, wanted, || false).expect("a notification")
    }

    /// Writes a new configuration, reloads and waits until the daemon is ready again.
    pub fn reload(&self, config: &str) -> String {
        std::fs::write(self.home().join("config.toml"), config).expect("a configuration file");
        self.signal(libc::SIGHUP);
        self.notification("READY=1")
    }

    /// SIGTERM, and the end.
    pub fn stop(mut self) -> (ExitStatus, String) {
        self.signal(libc::SIGTERM);
        (self.ended(), self.log())
    }

    /// Waits until the process is gone.
    pub fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_until(
            "the daemon ends",
            || child.try_wait().expect("the daemon's state"),
            Option::is_some,
        )
        .expect("an exit status")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ended = self.child.kill(); // it may have ended by itself
        self.child.wait().expect("an exit status");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!(
                "--- log of the daemon at {} ---\n{}",
                self.home().display(),
                self.log()
            );
        }
    }
}

fn value(metrics: &str, name: &str) -> Option<u64> {
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(value.parse().expect("a whole number"))
}
