//! Runs the binary as a command and looks at what it printed.

use std::path::Path;
use std::process::Command;

pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// `seance arguments…` with nothing but `environment` in its environment.
pub fn seance(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seance"));
    command
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied());
    let output = command.output().expect("the command runs");
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `seance check-config` on a file with this text.
pub fn check_config(toml: &str, environment: &[(&str, &str)]) -> Output {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("config.toml");
    std::fs::write(&file, toml).expect("a configuration file");
    seance(&["check-config", path(&file)], environment)
}

pub fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
