//! The real Vite as the dev server of an app with hot module replacement.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub struct Vite {
    child: Child,
    port: u16,
    home: tempfile::TempDir,
}

impl Vite {
    /// Serves a copy of the app in `tests/clients/vite/app`.
    pub fn start() -> Vite {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/vite");
        let home = tempfile::tempdir().expect("a temporary directory");
        for file in std::fs::read_dir(project.join("app")).expect("the app") {
            let file = file.expect("a file");
            std::fs::copy(file.path(), home.path().join(file.file_name())).expect("a copy");
        }
        let mut child = Command::new("node")
            .arg(project.join("serve.js"))
            .arg(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("a port");
        let port = line.trim().parse().expect("a port");
        Vite { child, port, home }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A developer saves another `word.js`.
    pub fn change(&self, word: &str) {
        let text = format!("export const word = \"{word}\";\n");
        std::fs::write(self.word(), text).expect("a file");
    }

    fn word(&self) -> PathBuf {
        self.home.path().join("word.js")
    }
}

impl Drop for Vite {
    fn drop(&mut self) {
        let _ended = self.child.kill(); // it may have ended by itself
        let _status = self.child.wait(); // only so that no zombie stays
    }
}
