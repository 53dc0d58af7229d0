//! The README's tour works when pasted. Its commands run as they stand, in a network namespace of their own, where
//! the ports that they name are free; `cargo run --release --` is the binary that the tests built. So does its script for
//! drafts, but for the address of the daemon.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::Builder;
use crate::harness::command::check_config;
use crate::harness::release::served;
use crate::harness::wait::wait_until;

const PASSWORD_HASH: &str = "$2b$12$Njju.El1m6rS5QkEMvo5E.j/i9THezx/8F5xcsj4.dnYBXn5kLrBO";

#[test]
#[ignore = "needs root, unshare, ip, curl and openssl: tests/run"]
fn the_five_minute_tour_works_from_the_readme_s_own_text() {
    let blocks = tour();
    let (serve, visit) = blocks.split_first().expect("the tour has blocks");
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut daemon = Daemon::start(home.path(), serve);
    let log = home.path().join("log");
    wait_until(
        "the daemon of the tour is ready",
        || {
            daemon.assert_running(&log);
            let probe = daemon.beside(home.path(), "curl -fsS http://127.0.0.1:3000/health/ready");
            probe.status.success()
        },
        |ready| *ready,
    );
    let toured = daemon.beside(home.path(), &visit.concat());
    let printed = String::from_utf8_lossy(&toured.stdout);
    let errors = String::from_utf8_lossy(&toured.stderr);
    assert!(toured.status.success(), "{printed}\n{errors}");
    for promised in [
        "\"success\":true",
        "\"filesDeployed\":2",
        "blockmap",
        "version: 1.0.0",
        "multipart/byteranges",
        "seance_",
    ] {
        assert!(printed.contains(promised), "no {promised} in:\n{printed}");
    }
    let greeting = fs::read_to_string(&log).expect("a log");
    assert!(
        greeting.contains("http://127.0.0.1:3000/deploy"),
        "{greeting}"
    );
}

#[test]
fn every_message_that_the_readme_explains_is_one_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = read();
    let (_, chapter) = readme
        .split_once("### When it does not work")
        .expect("the chapter");
    let (chapter, _) = chapter.split_once("\n### ").expect("the next chapter");
    // Those that systemd writes.
    let foreign = [
        "Job for seance-backend.service failed",
        "status=243/CREDENTIALS",
    ];
    let mut sources = String::new();
    for directory in ["src", "nix"] {
        read_below(&root.join(directory), &mut sources);
    }
    let mut checked = 0;
    for line in chapter.lines().filter(|line| line.starts_with("| `")) {
        let message = line.split('`').nth(1).expect("a message");
        checked += 1;
        for part in message
            .split('…')
            .map(|part| part.trim_end_matches('?').trim())
        {
            let found = part.len() < 3 || sources.contains(part);
            assert!(found || foreign.contains(&part), "no source says {part:?}");
        }
    }
    assert!(checked >= 15, "{checked} messages");
}

#[test]
fn every_file_that_the_readme_names_is_there() {
    let readme = read();
    let links = readme.split("](").skip(1);
    let links = links.filter_map(|rest| rest.split(')').next());
    let quoted = readme.split('`').skip(1).step_by(2);
    let in_our_tree = |text: &&str| {
        ["nix/", "src/", "tests/", ".github/"].map(|place| text.starts_with(place)) != [false; 4]
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut checked, mut missing) = (0, Vec::new());
    for name in links.chain(quoted.filter(in_our_tree)) {
        let name = name.split([' ', '#']).next().unwrap_or_default();
        if !name.is_empty() && !name.contains("://") {
            checked += 1;
            // The workflow of a server's own flake.
            let places = [root.to_owned(), root.join("nix/templates/default")];
            if !places.iter().any(|place| place.join(name).exists()) {
                missing.push(name);
            }
        }
    }
    assert!(missing.is_empty() && checked >= 10, "{missing:?}");
}

#[test]
fn every_sample_of_configuration_in_the_readme_is_right() {
    let readme = read();
    let samples: Vec<&str> = readme
        .split("```toml\n")
        .skip(1)
        .filter_map(|block| block.split("```").next())
        .collect();
    assert!(samples.len() >= 10, "{samples:?}");
    for sample in samples {
        let sample = sample
            .replace("[\"…\"]", &format!("[\"{}\"]", "0".repeat(64)))
            .replace("$2b$12$…", PASSWORD_HASH);
        let checked = check_config(&sample, &[]);
        assert_eq!(checked.code, 0, "{}\n{sample}", checked.stderr);
    }
}

fn read() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    fs::read_to_string(readme).expect("the README")
}

fn read_below(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_below(&path, text);
        } else {
            text.push_str(&fs::read_to_string(&path).expect("text"));
        }
    }
}

#[test]
#[ignore = "needs curl and jq: tests/run"]
fn the_script_that_fills_a_draft_works_from_the_readme_s_own_text() {
    let blocks = blocks("\n## Drafts and resumable uploads\n", "\n## ");
    let [script] = &blocks[..] else {
        panic!("one script: {blocks:?}");
    };
    let example = "https://backend.example.com";
    assert!(script.contains(example), "{script}");
    let daemon = Builder::new().start();
    let home = tempfile::tempdir().expect("a temporary directory");
    let name = "Seance-1.4.0.AppImage";
    // Of three parts, none like another.
    let content: Vec<u8> = (0..2_300_000_u64).flat_map(u64::to_le_bytes).collect();
    fs::create_dir(home.path().join("dist")).expect("a directory");
    fs::write(home.path().join("dist").join(name), &content).expect("a build");
    let script = script.replace(example, &daemon.url(""));
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &script]);
    clean(&mut command, home.path())
        .env("BUILDER_KEY", daemon.builder_key())
        .current_dir(home.path());
    let ran = command.output().expect("bash runs");
    let printed = String::from_utf8_lossy(&ran.stdout);
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{printed}\n{errors}");
    assert!(printed.contains("\"success\":true"), "{printed}");
    let parts = fs::read_dir(home.path()).expect("what it left").flatten();
    let parts = parts.filter(|entry| entry.file_name().to_string_lossy().starts_with("part."));
    assert_eq!(parts.count(), 3);
    let served = served(daemon.http, &format!("releases/linux-x64/{name}"));
    assert!(served == Some(content), "it is not served as it was built");
}

/// The `sh` blocks between the README's marks.
fn tour() -> Vec<String> {
    blocks("<!-- tour", "<!-- end of tour -->")
}

/// The `sh` blocks of the README between two of its lines.
fn blocks(begin: &str, end: &str) -> Vec<String> {
    let readme = read();
    let (_, section) = readme.split_once(begin).expect("its begin");
    let (section, _) = section.split_once(end).expect("its end");
    section
        .split("```sh\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

/// The daemon of the tour's first block, alone in a network namespace.
struct Daemon(Child);

impl Daemon {
    fn start(home: &Path, block: &str) -> Daemon {
        let programs = home.join("bin");
        fs::create_dir(&programs).expect("a directory for programs");
        let cargo = programs.join("cargo");
        let script = format!(
            "#!/bin/sh\n[ \"$1 $2 $3\" = \"run --release --\" ] || exit 64\nshift 3\nexec {} \"$@\"\n",
            env!("CARGO_BIN_EXE_seance")
        );
        fs::write(&cargo, script).expect("a stand-in for cargo");
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("its mode");
        let log = fs::File::create(home.join("log")).expect("a log file");
        // The last command is the block's only one, so that the daemon takes this process over.
        let script = format!("ip link set lo up && exec {block}");
        let child = clean(
            Command::new("unshare").args(["--net", "bash", "-ec", &script]),
            home,
        )
        .env(
            "PATH",
            format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display()),
        )
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log file"))
        .stderr(log)
        .spawn()
        .expect("unshare runs");
        Daemon(child)
    }

    /// Runs `script` in the daemon's namespace, as from a second terminal.
    fn beside(&self, home: &Path, script: &str) -> std::process::Output {
        let pid = self.0.id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--net", "bash", "-ec", script]);
        clean(&mut command, home).output().expect("nsenter runs")
    }

    #[track_caller]
    fn assert_running(&mut self, log: &Path) {
        let ended = self.0.try_wait().expect("the daemon's state");
        assert!(
            ended.is_none(),
            "{ended:?}: {}",
            fs::read_to_string(log).unwrap_or_default()
        );
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended = self.0.kill(); // it may have ended by itself
        self.0.wait().expect("an exit status");
    }
}

/// A user's environment whose home is `home`.
fn clean<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    command
        .env_clear()
        .env("HOME", home)
        .env("TMPDIR", home)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
}
