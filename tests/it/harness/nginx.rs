//! A real nginx, with TLS, on a port of loopback: an upstream that nobody here wrote.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::pki::{Files, certificate};

pub struct Nginx {
    child: Child,
    address: SocketAddr,
    certificate: Files,
    home: tempfile::TempDir,
}

impl Nginx {
    /// Serves files of `static/`, answers any other path with what it was asked, and lets every origin read all of it.
    pub fn start() -> Nginx {
        let home = tempfile::tempdir().expect("a temporary directory");
        let certificate = certificate(home.path(), "nginx", &["localhost"], 2040);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("as nginx wants it");
        let address = listener.local_addr().expect("its address");
        let configuration = home.path().join("nginx.conf");
        let text = configured(home.path(), &certificate, address);
        std::fs::write(&configuration, text).expect("a configuration file");
        let log = File::create(home.path().join("log")).expect("a log file");
        let child = Command::new("nginx")
            .arg("-p")
            .arg(home.path())
            .arg("-c")
            .arg(&configuration)
            .args(["-e", "stderr"])
            // It takes over listeners by their numbers; connections wait in this one until it is ready.
            .env("NGINX", "0;")
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nginx is installed by tests/run");
        Nginx {
            child,
            address,
            certificate,
            home,
        }
    }

    /// Where it is, by the name of its certificate.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// The certificate, which is its own root.
    pub fn root(&self) -> &Path {
        &self.certificate.chain
    }

    /// Puts a file below `static/`.
    pub fn put(&self, name: &str, content: &[u8]) {
        std::fs::write(self.home.path().join("static").join(name), content).expect("a file");
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its worker ends with it only when it is asked to.
        let pid = Pid::from_raw(self.child.id().try_into().expect("a process number"));
        let _ended = kill(pid, Signal::SIGTERM); // it may have ended by itself
        let _status = self.child.wait(); // only so that no zombie stays
        if std::thread::panicking() {
            eprintln!("--- log of nginx ---\n{}", self.log());
        }
    }
}

fn configured(home: &Path, certificate: &Files, address: SocketAddr) -> String {
    std::fs::create_dir(home.join("static")).expect("a directory");
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|kind| format!("{kind}_temp_path {kind};"));
    format!(
        "daemon off; user root; worker_processes 1; pid pid; error_log stderr info;\n\
         events {{}}\n\
         http {{\n\
         access_log off; {}\n\
         types {{ text/javascript js; }}\n\
         server {{\n\
         listen {address} ssl http2; server_name localhost;\n\
         ssl_certificate {}; ssl_certificate_key {};\n\
         add_header Access-Control-Allow-Origin * always;\n\
         add_header Access-Control-Allow-Credentials true always;\n\
         location /static/ {{ root {}; gzip on; gzip_types text/javascript; gzip_min_length 1; }}\n\
         location / {{ default_type text/plain;\n\
         return 200 '$request_method $request_uri host=$http_host origin=$http_origin \
         for=$http_x_forwarded_for proto=$http_x_forwarded_proto'; }}\n\
         }}\n}}\n",
        temporary.join(" "),
        certificate.chain.display(),
        certificate.key.display(),
        home.display(),
    )
}
