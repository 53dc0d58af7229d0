//! Under systemd the log goes to the journal, with typed fields. The journal's socket is a stand-in that shows the
//! datagrams; `tests/lab` is the place for the real one.

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::harness::Builder;
use crate::harness::wait::{CEILING, wait_until};

#[test]
#[ignore = "needs root and mount namespaces: tests/run"]
fn events_reach_the_journal_with_priority_and_message_id() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = UnixDatagram::bind(directory.path().join("socket")).expect("a socket");
    socket
        .set_read_timeout(Some(CEILING))
        .expect("a read timeout");
    let daemon = under_journal(directory.path()).config("").start();
    let event = |message_id: &str| {
        wait_until(
            "an event",
            || receive(&socket),
            |event| event.contains(message_id),
        )
    };
    let ready = event("MESSAGE_ID=7c1d3e6a5b0f4d2f9a6e1c84b7f20d11");
    for field in [
        "PRIORITY=6",
        "SYSLOG_IDENTIFIER=seance",
        "MESSAGE=ready",
        "HTTP=127.0.0.1:",
    ] {
        assert!(ready.contains(field), "no {field} in:\n{ready}");
    }
    assert!(!ready.contains("F_HTTP"), "{ready}");
    daemon.reload("[http]\nlisten = [\"nope\"]\n");
    let failed = event("MESSAGE_ID=7c1d3e6a5b0f4d2f9a6e1c84b7f20d14");
    assert!(
        failed.contains("PRIORITY=3") && failed.contains("invalid socket address"),
        "the cause is named: {failed}"
    );
    assert!(
        !daemon.log().contains("ready"),
        "nothing goes to standard error: {}",
        daemon.log()
    );
}

#[test]
fn every_kind_of_event_is_explained_in_the_catalog() {
    let source = include_str!("../../src/systemd.rs");
    let catalog = include_str!("../../nix/seance.catalog");
    let ids = source.lines().filter_map(|line| {
        let (_, id) = line
            .strip_prefix("    pub const ")?
            .split_once(": &str = \"")?;
        id.strip_suffix("\";")
    });
    let mut found = 0;
    for id in ids {
        let entry = catalog.split("\n-- ").find(|entry| entry.starts_with(id));
        let entry = entry.unwrap_or_else(|| panic!("{id} is not in nix/seance.catalog"));
        assert!(entry.contains("\nSubject: "), "{entry}");
        found += 1;
    }
    assert_eq!(found, catalog.matches("\n-- ").count());
    assert!(found >= 4, "{found}");
}

/// One event as `NAME=value` lines.
fn receive(socket: &UnixDatagram) -> String {
    let mut buffer = vec![0; 64 * 1024];
    let length = socket.recv(&mut buffer).expect("an event");
    let mut rest = &buffer[..length];
    let mut lines = String::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        if line.contains('=') {
            lines += &format!("{line}\n");
            continue;
        }
        // The Journal Export Format: a name alone, the length of its value in 64 bits, the value, a newline.
        let (size, value) = rest.split_at(8);
        let size = usize::try_from(u64::from_le_bytes(size.try_into().expect("8 bytes")))
            .expect("a length");
        lines += &format!("{line}={}\n", String::from_utf8_lossy(&value[..size]));
        rest = &value[size + 1..];
    }
    lines
}

/// A daemon whose /run/systemd/journal is `directory`, and whose standard error claims to be the journal.
fn under_journal(directory: &Path) -> Builder {
    let script = format!(
        "mkdir -p /run/systemd/journal && mount --bind {} /run/systemd/journal && \
         export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/$$/fd/2) && exec \"$0\" \"$@\"",
        directory.display()
    );
    Builder::new().under(&["unshare", "--mount", "bash", "-c", &script])
}
