//! A CA of our own: pebble, and the DNS server that it asks (pebble-challtestsrv).

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::wait::wait_until;

/// Key identifier and key (base64url) of the one account that pebble knows when it wants external account binding.
pub const EAB: (&str, &str) = (
    "kid-1",
    "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
);

/// How pebble behaves.
#[derive(Clone, Default)]
pub struct Behaviour {
    /// Nonces in a hundred that are refused although they are good; pebble's own default is 5.
    pub refused_nonces: Option<u32>,
    pub wants_binding: bool,
    /// Life of the certificates, seconds; five years by default.
    pub certificate_life: Option<u64>,
    /// Every name is valid, without a look at it.
    pub believes: bool,
    /// Seconds that a validation may take; none by default.
    pub slow: Option<u32>,
    /// TLS-ALPN-01 looks where nothing listens.
    pub tls_blocked: bool,
    /// It is a newer one, which says when certificates are to be renewed (RFC 9773).
    pub renewal_info: bool,
    /// Seconds after which a newer one wants to be asked again for an order that it is working on.
    pub retry_after: Option<u32>,
}

pub struct Pebble {
    child: Option<Child>,
    dns: Child,
    behaviour: Behaviour,
    directory: tempfile::TempDir,
    address: SocketAddr,
    management: SocketAddr,
    dns_address: SocketAddr,
    dns_management: SocketAddr,
    /// Where the CA looks for the answers to its challenges; the daemon has to listen there.
    pub http: SocketAddr,
    pub https: SocketAddr,
}

/// A port of loopback on which nobody listens now.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address")
}

impl Pebble {
    /// A CA that answers.
    pub fn start(behaviour: Behaviour) -> Pebble {
        let mut pebble = Pebble::prepared(behaviour);
        pebble.up();
        pebble
    }

    /// A CA that is still away.
    pub fn prepared(behaviour: Behaviour) -> Pebble {
        let directory = tempfile::tempdir().expect("a temporary directory");
        certificates(directory.path());
        let (dns_address, dns_management) = (free_address(), free_address());
        let log = File::create(directory.path().join("dns.log")).expect("a log file");
        let dns = Command::new("pebble-challtestsrv")
            .args([
                "-http01",
                "",
                "-https01",
                "",
                "-tlsalpn01",
                "",
                "-defaultIPv6",
                "",
            ])
            .args(["-dns01", &dns_address.to_string()])
            .args(["-management", &dns_management.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("pebble-challtestsrv is installed by tests/run");
        let pebble = Pebble {
            child: None,
            dns,
            behaviour,
            directory,
            address: free_address(),
            management: free_address(),
            dns_address,
            dns_management,
            http: free_address(),
            https: free_address(),
        };
        pebble.configure();
        pebble
    }

    /// `[acme]` for this CA.
    pub fn toml(&self) -> String {
        format!(
            "[acme]\ndirectory = \"{}\"\nca_file = \"{}\"\n",
            self.url("dir"),
            self.root().display()
        )
    }

    /// Listeners where this CA looks, and `hosts`.
    pub fn listeners(&self) -> String {
        format!(
            "[http]\nlisten = [\"{}\"]\n[https]\nlisten = [\"{}\"]\n",
            self.http, self.https
        )
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{}/{path}", self.address)
    }

    /// The root of the certificate of pebble's own server.
    fn root(&self) -> PathBuf {
        self.directory.path().join("root.pem")
    }

    /// Starts pebble, which remembers nothing of what it did before.
    pub fn up(&mut self) {
        assert!(self.child.is_none(), "pebble runs");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"));
        let log = log.expect("a log file");
        let mut command = match self.behaviour.renewal_info {
            true => Command::new(
                Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/pebble-with-ari"),
            ),
            false => Command::new("pebble"),
        };
        command
            .arg("-config")
            .arg(self.directory.path().join("pebble.json"))
            .args(["-dnsserver", &self.dns_address.to_string()])
            .env("PEBBLE_AUTHZREUSE", "0")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log);
        match self.behaviour.slow {
            Some(seconds) => command.env("PEBBLE_VA_SLEEPTIME", seconds.to_string()),
            None => command.env("PEBBLE_VA_NOSLEEP", "1"),
        };
        if let Some(refused) = self.behaviour.refused_nonces {
            command.env("PEBBLE_WFE_NONCEREJECT", refused.to_string());
        }
        if self.behaviour.believes {
            command.env("PEBBLE_VA_ALWAYS_VALID", "1");
        }
        self.child = Some(command.spawn().expect("pebble is installed by tests/run"));
        wait_until(
            "pebble answers",
            || curl(&["-sk", &self.url("dir")]),
            |answer| answer.contains("newNonce"),
        );
    }

    /// `kill -9`: the CA is away, and its accounts are lost.
    pub fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("pebble can be killed");
            child.wait().expect("an exit status");
        }
    }

    /// From now on `name` leads to where nobody answers.
    pub fn lead_astray(&self, name: &str) {
        self.dns(
            "add-a",
            &json!({ "host": name, "addresses": ["127.0.0.254"] }),
        );
    }

    /// A file with the root of the certificates that this pebble gives; another one after each start.
    pub fn issuer(&self) -> PathBuf {
        let pem = curl(&["-sk", &format!("https://{}/roots/0", self.management)]);
        let file = format!("issuer-{}.pem", uuid::Uuid::now_v7());
        let file = self.directory.path().join(file);
        std::fs::write(&file, pem).expect("a file");
        file
    }

    /// From now on the certificate in `pem` is to be renewed between these two times (RFC 3339).
    pub fn renew_between(&self, pem: &str, start: &str, end: &str) {
        let window = json!({ "suggestedWindow": { "start": start, "end": end } });
        let begin = pem.find("-----BEGIN CERTIFICATE").expect("a certificate");
        let chosen = json!({ "certificate": pem[begin..], "ariResponse": window.to_string() });
        let url = format!("https://{}/set-renewal-info/", self.management);
        let taken = curl(&[
            "-sk",
            "-o",
            "-",
            "-w",
            "%{http_code}",
            "-d",
            &chosen.to_string(),
            &url,
        ]);
        assert!(taken.ends_with("200"), "{taken}");
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// How many orders this CA, in all its lives, was asked for.
    pub fn orders(&self) -> usize {
        self.log().matches("Added order ").count()
    }

    fn dns(&self, path: &str, body: &Value) {
        let url = format!("http://{}/{path}", self.dns_management);
        let body = body.to_string();
        let sent = || {
            let curl = Command::new("curl")
                .args(["-sf", "-d", &body, &url])
                .output();
            curl.expect("curl runs").status.success()
        };
        wait_until("the DNS server takes it", sent, |sent| *sent);
    }

    fn configure(&self) {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let tls = match self.behaviour.tls_blocked {
            true => free_address(),
            false => self.https,
        };
        let mut options = json!({
            "listenAddress": self.address,
            "managementListenAddress": self.management,
            "certificate": path("server.pem"),
            "privateKey": path("server.key"),
            "httpPort": self.http.port(),
            "tlsPort": tls.port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": self.behaviour.wants_binding,
        });
        if self.behaviour.wants_binding {
            options["externalAccountMACKeys"] = json!({ EAB.0: EAB.1 });
        }
        if let Some(life) = self.behaviour.certificate_life {
            options["certificateValidityPeriod"] = json!(life);
            // Where newer ones look for it.
            options["profiles"] =
                json!({ "default": { "description": "", "validityPeriod": life } });
        }
        if let Some(seconds) = self.behaviour.retry_after {
            options["retryAfter"] = json!({ "authz": seconds, "order": seconds });
        }
        let text = json!({ "pebble": options }).to_string();
        std::fs::write(path("pebble.json"), text).expect("a configuration file");
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.down();
        let _ended = self.dns.kill(); // it may have ended by itself
        self.dns.wait().expect("an exit status");
        if std::thread::panicking() {
            eprintln!("--- log of pebble ---\n{}", self.log());
        }
    }
}

/// `root.pem`, and a server certificate of it for loopback.
pub fn certificates(directory: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    let root_key = KeyPair::generate().expect("a key");
    let mut root = CertificateParams::new(Vec::new()).expect("parameters");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = root.self_signed(&root_key).expect("a root certificate");
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]);
    let server = server
        .expect("parameters")
        .signed_by(&key, &root, &root_key);
    let write =
        |name: &str, text: String| std::fs::write(directory.join(name), text).expect("a file");
    write("root.pem", root.pem());
    write("server.pem", server.expect("a certificate").pem());
    write("server.key", key.serialize_pem());
}

fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(arguments)
        .output()
        .expect("curl runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
