//! Headless Chromium.

use std::path::Path;
use std::process::{Child, Command, Stdio};

pub struct Browser(pub Child);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ended = self.0.kill(); // it may have ended by itself
        let _status = self.0.wait(); // only so that no zombie stays
    }
}

/// Opens `address` in a profile of its own below `home`, with `more` options.
pub fn browse(home: &Path, more: &[String], address: &str) -> Browser {
    let mut command = Command::new("chromium");
    command
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .arg(format!(
            "--user-data-dir={}",
            home.join("profile").display()
        ))
        .args(more)
        .arg(address)
        .env("HOME", home)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Browser(command.spawn().expect("chromium starts"))
}

/// Makes browsers of this home trust a root as `seance trust` says: everything else about certificates is verified.
pub fn trust(home: &Path, root: &Path) {
    let database = home.join(".pki/nssdb");
    std::fs::create_dir_all(&database).expect("a directory");
    let database = format!("sql:{}", database.display());
    let certutil = |arguments: &[&str]| {
        let mut command = Command::new("certutil");
        command.args(["-d", &database]).args(arguments);
        let output = command
            .output()
            .expect("certutil is installed by tests/run");
        assert!(output.status.success(), "{output:?}");
    };
    certutil(&["-N", "--empty-password"]);
    let root = root.display().to_string();
    certutil(&["-A", "-t", "C,,", "-n", "seance", "-i", &root]);
}
