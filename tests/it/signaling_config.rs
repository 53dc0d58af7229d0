//! Settings of the signaling room that could not work are told before they are in force.

use crate::harness::{Builder, command};
use crate::signaling_access::config;

#[test]
fn origins_are_written_as_browsers_send_them() {
    for (origin, right) in [
        ("https://app.example.com", true),
        ("http://localhost:5173", true),
        ("http://[::1]:5173", true),
        ("tauri://localhost", true),
        ("app://x", true),
        ("chrome-extension://abcdef", true),
        ("file://", true),
        ("null", true),
        ("https://app.example.com:443", false),
        ("http://app.example.com:80", false),
        ("https://*.example.com", false),
        ("https://App.example.com", false),
        ("https://app.example.com/", false),
        ("HTTPS://app.example.com", false),
        ("Tauri://localhost", false),
        ("tauri://localhost/index.html", false),
        ("tauri://*", false),
        ("://x", false),
        ("*", false),
        ("localhost", false),
    ] {
        let section = format!("[signaling]\nallowed_origins = [\"{origin}\"]\n");
        let checked = command::check_config(&section, &[]);
        assert_eq!(checked.code == 0, right, "{origin}: {}", checked.stderr);
        assert!(right || checked.stderr.contains("signaling.allowed_origins"));
    }
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    for (section, error) in [
        (
            "[signaling]\nrequire_token = true\n",
            "token_key_files` is empty",
        ),
        ("[signaling.turn]\nurls = [\"turn:a\"]\n", "secret_file"),
        (
            "[signaling]\ndrain_milliseconds = 10001\n",
            "signaling.drain_milliseconds",
        ),
        ("[signaling.turn]\nsecret = \"a\"\n", "is a secret"),
        (
            "[signaling]\nallowed_origins = [\"app.example.com\"]\n",
            "signaling.allowed_origins",
        ),
        (
            "[signaling]\nmax_message_bytes = 1\n",
            "signaling.max_message_bytes",
        ),
    ] {
        let checked = command::check_config(section, &[]);
        assert_ne!(checked.code, 0, "{section}");
        assert!(
            checked.stderr.contains(error),
            "{section}: {}",
            checked.stderr
        );
    }
    let keys = tempfile::tempdir().expect("a temporary directory");
    let text = config(&keys, &["short"], "");
    std::fs::write(keys.path().join("short"), "x").expect("a key file");
    let Err((_, log)) = Builder::new().config(&text).try_start() else {
        panic!("a short key is no key")
    };
    assert!(log.contains("shorter than 32 bytes"), "{log}");
    let checked = command::check_config(&text, &[]);
    assert_eq!(checked.code, 1);
    assert!(
        checked.stderr.contains("shorter than 32 bytes"),
        "{}",
        checked.stderr
    );
    std::fs::remove_file(keys.path().join("short")).expect("the key file");
    let elsewhere = command::check_config(&text, &[]);
    assert_eq!(elsewhere.code, 0, "a key need not be where it is checked");
}
