//! Start, ready, reload, drain, exit.

use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use crate::harness::bucket::Bucket;
use crate::harness::http::{Connection, get, head, request};
use crate::harness::wait::wait_until;
use crate::harness::{Builder, Daemon};

#[test]
fn it_becomes_ready_on_embedded_defaults_and_ends_on_sigterm() {
    let daemon = Builder::new().start();
    let key = daemon.builder_key();
    assert!(key.len() >= 64);
    let (status, log) = daemon.stop();
    assert!(status.success(), "{log}");
    assert!(!log.contains(&key), "the key must not be in a log:\n{log}");
}

#[test]
fn the_builder_key_is_private_and_the_same_after_a_restart() {
    use std::os::unix::fs::MetadataExt as _;
    let home = tempfile::tempdir().expect("a temporary directory");
    let first = Builder::at(home.path()).start();
    let key = first.builder_key();
    let mode = |file: &str| {
        std::fs::metadata(first.state().join(file))
            .expect("it exists")
            .mode()
    };
    assert_eq!(mode("builder-key") & 0o777, 0o600);
    first.stop();
    assert_eq!(Builder::at(home.path()).start().builder_key(), key);
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused() {
    let first = Builder::new().start();
    let Err((status, log)) = Builder::at(first.home()).try_start() else {
        panic!("a second daemon started")
    };
    assert!(!status.success());
    assert!(
        log.contains("another seance uses the state directory"),
        "{log}"
    );
}

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let started = Builder::new()
        .env("SEANCE_HTTP__LISTEN", &address)
        .try_start();
    let Err((_, log)) = started else {
        panic!("it started")
    };
    assert!(
        log.contains(&format!("cannot listen on {address} (`http.listen`)")),
        "{log}"
    );
    assert!(log.contains("because: Address already in use"), "{log}");
}

/// A listening socket that a child inherits.
fn inheritable() -> (OwnedFd, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    // SAFETY: F_DUPFD gives a new descriptor (without close-on-exec) that nothing else owns.
    #[expect(unsafe_code, reason = "a descriptor that is inherited has no type")]
    let inherited =
        unsafe { OwnedFd::from_raw_fd(libc::fcntl(listener.as_raw_fd(), libc::F_DUPFD, 50)) };
    (inherited, address)
}

/// Starts the daemon as systemd would with these sockets, given as (name, descriptor).
fn activated(builder: Builder, sockets: &[(&str, &OwnedFd)]) -> Builder {
    let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
    let redirections: Vec<String> = sockets
        .iter()
        .enumerate()
        .map(|(index, (_, socket))| format!("{}<&{}", index + 3, socket.as_raw_fd()))
        .collect();
    let script = format!(
        "LISTEN_PID=$$ LISTEN_FDS={} LISTEN_FDNAMES={} exec \"$0\" \"$@\" {}",
        sockets.len(),
        names.join(":"),
        redirections.join(" ")
    );
    builder.under(&["bash", "-c", &script])
}

#[test]
fn inherited_sockets_are_taken_by_name_and_serve() {
    let (http, http_address) = inheritable();
    let (second, second_address) = inheritable();
    let (metrics, metrics_address) = inheritable();
    let builder = Builder::new()
        .env(
            "SEANCE_HTTP__LISTEN",
            &format!("{http_address},{second_address}"),
        )
        .env("SEANCE_METRICS__LISTEN", &metrics_address);
    // The order of descriptors says nothing: names do.
    let sockets = [("metrics", &metrics), ("http", &http), ("http", &second)];
    let daemon = activated(builder, &sockets).start();
    for address in [&http_address, &second_address] {
        assert_eq!(
            get(address.parse().expect("an address"), "/health/live").status,
            200
        );
    }
    assert_eq!(
        daemon.metrics.expect("metrics").to_string(),
        metrics_address
    );
}

#[test]
fn an_inherited_socket_that_contradicts_the_configuration_is_refused() {
    let (http, address) = inheritable();
    let contradicting = Builder::new().env("SEANCE_HTTP__LISTEN", "127.0.0.1:1");
    let Err((_, log)) = activated(contradicting, &[("http", &http)]).try_start() else {
        panic!("it started")
    };
    assert!(
        log.contains(&address) && log.contains("127.0.0.1:1") && log.contains("http.listen"),
        "{log}"
    );
    let Err((_, log)) = activated(Builder::new(), &[("smtp", &http)]).try_start() else {
        panic!("it started")
    };
    assert!(log.contains("sockets named `smtp`"), "{log}");
}

#[test]
fn a_reload_changes_what_it_can_and_a_bad_file_keeps_the_old_one() {
    let daemon = Builder::new()
        .config("[http]\ncors_origins = [\"https://a.example\"]\n")
        .start();
    let allowed = |daemon: &Daemon| {
        let mut connection = Connection::open(daemon.http);
        connection.send(&head(
            "GET",
            "/health/live",
            &[("Origin", "https://b.example")],
            None,
        ));
        let answer = connection.answer(true);
        answer
            .header("access-control-allow-origin")
            .map(str::to_owned)
    };
    assert_eq!(allowed(&daemon), None);
    let broken = daemon.reload("[http]\ncors_orgins = []\n");
    assert!(broken.contains("reload failed"), "{broken}");
    assert!(
        daemon.log().contains("did you mean `http.cors_origins`"),
        "{}",
        daemon.log()
    );
    assert_eq!(allowed(&daemon), None);
    let ready =
        daemon.reload("[http]\ncors_origins = [\"https://b.example\"]\nmax_connections = 5\n");
    assert!(ready.contains("STATUS=reloaded"), "{ready}");
    assert_eq!(allowed(&daemon).as_deref(), Some("https://b.example"));
    let log = daemon.log();
    assert!(
        log.contains("it takes effect with the next restart")
            && log.contains("http.max_connections"),
        "{log}"
    );
}

#[test]
fn a_reload_is_compared_with_what_the_daemon_started_with() {
    let warning = |daemon: &Daemon| daemon.log().matches("with the next restart").count();
    let daemon = Builder::new().config("").start();
    let changed = "[http]\nmax_connections = 5\n[log]\nformat = \"json\"\n";
    daemon.reload(changed);
    assert_eq!(warning(&daemon), 2, "{}", daemon.log());
    assert!(daemon.log().contains("log.format"), "{}", daemon.log());
    daemon.reload(changed);
    assert_eq!(warning(&daemon), 4, "it is said again: {}", daemon.log());
    daemon.reload("");
    assert_eq!(warning(&daemon), 4, "all is as it was: {}", daemon.log());
}

#[test]
fn a_reload_names_every_changed_option_that_only_a_start_reads_and_no_other() {
    let daemon = Builder::new().config("").start();
    daemon.reload(
        "[acme]\ncontact = \"a@b.example\"\n[audit]\nkeep_days = 9\n[deploy]\nmax_files = 7\nfollow_seconds = 7\n\
         [drafts]\nmax_open = 7\n[log]\nfilter = \"info\"\n[store]\ndirectory = \"elsewhere\"\n\
         [signaling]\nmax_topic_bytes = 100\n[signaling.nats]\nsubject_prefix = \"other\"\n",
    );
    let log = daemon.log();
    let mut named: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("with the next restart"))
        .filter_map(|line| line.split_once("key=")?.1.split_whitespace().next())
        .map(|key| key.trim_matches('"'))
        .collect();
    named.sort_unstable();
    let wanted = [
        "acme",
        "audit.keep_days",
        "deploy.follow_seconds",
        "drafts.max_open",
        "signaling.nats.subject_prefix",
        "store",
    ];
    assert_eq!(named, wanted, "{log}");
}

#[test]
fn an_app_without_a_builder_key_is_named_also_on_reload() {
    let daemon = Builder::new().config("").start();
    daemon.reload("[apps.other]\n");
    let log = daemon.log();
    assert_eq!(log.matches("no builder key is").count(), 3, "{log}");
    assert!(log.contains("app=other"), "{log}");
}

#[test]
fn a_systemd_that_went_away_ends_nothing() {
    let daemon = Builder::new().config("").start();
    std::fs::remove_file(daemon.home().join("notify")).expect("the socket of systemd");
    daemon.signal(libc::SIGHUP);
    wait_until(
        "the reload",
        || daemon.log(),
        |log| log.contains("configuration reloaded"),
    );
    assert_eq!(get(daemon.http, "/health/live").status, 200);
    let (status, log) = daemon.stop();
    assert!(status.success(), "{log}");
    assert!(log.contains("cannot notify systemd"), "{log}");
    assert!(log.contains("draining"), "{log}");
}

#[test]
fn an_error_in_the_json_log_carries_its_causes() {
    let daemon = Builder::new()
        .env("SEANCE_LOG__FORMAT", "json")
        .config("")
        .start();
    daemon.reload("[http]\nlisten = [\"nope\"]\n");
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("stays in force"));
    let line: serde_json::Value = serde_json::from_str(line.expect("a line")).expect("JSON");
    let error = line["error"].as_str().expect("an error");
    assert!(error.contains("invalid socket address"), "{error}");
}

#[test]
fn the_log_filter_changes_on_reload() {
    let daemon = Builder::new().config("[log]\nfilter = \"error\"\n").start();
    get(daemon.http, "/health/live");
    daemon.reload("[log]\nfilter = \"info\"\n");
    let answer = get(daemon.http, "/health/live");
    let id = answer.header("x-request-id").expect("an id").to_owned();
    let log = wait_until("the access line", || daemon.log(), |log| log.contains(&id));
    assert_eq!(log.matches("/health/live").count(), 1, "{log}");
}

#[test]
fn the_watchdog_is_pinged_also_while_all_connections_are_taken() {
    let daemon = Builder::new()
        .env("WATCHDOG_USEC", "200000")
        .env("SEANCE_HTTP__MAX_CONNECTIONS", "1")
        .start();
    let mut slow = Connection::open(daemon.http);
    slow.send(b"GET / HTTP/1.1\r\n");
    // More than can have come before the connection was taken.
    for _ in 0..40 {
        daemon.notification("WATCHDOG=1");
    }
    assert!(!daemon.log().contains("probe"), "{}", daemon.log());
}

#[test]
fn an_idle_connection_is_closed_by_the_drain_and_does_not_hold_it_up() {
    let daemon = Builder::new().start();
    let mut connection = Connection::open(daemon.http);
    connection.send(&head("GET", "/health/live", &[], None));
    assert_eq!(connection.answer(true).status, 200);
    let started = std::time::Instant::now();
    let (status, log) = daemon.stop();
    assert!(status.success(), "{log}");
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    assert!(connection.is_closed());
}

const BODY: &str = "{\"files\":[{\"path\":\"releases/drained.txt\",\"content\":\"aGVsbG8K\"}]}";

/// A deploy of which only the first half was sent.
fn half_sent(daemon: &Daemon, key: &str) -> Connection {
    let mut deploy = Connection::open(daemon.http);
    let headers = [
        ("X-Builder-Key", key),
        ("Content-Type", "application/json"),
        ("Expect", "100-continue"),
    ];
    deploy.send(&head("POST", "/deploy", &headers, Some(BODY.len())));
    // The daemon asks for the body once it has accepted the key: then the deploy is in flight.
    assert_eq!(deploy.answer(false).status, 100);
    deploy.send(&BODY.as_bytes()[..20]);
    deploy
}

#[test]
fn a_deploy_in_flight_is_finished_by_the_drain_while_probes_are_told() {
    let mut daemon = Builder::new().start();
    let key = daemon.builder_key();
    let mut deploy = half_sent(&daemon, &key);
    daemon.signal(libc::SIGTERM);
    daemon.notification("STOPPING=1");
    let ready = wait_until(
        "the probe is told",
        || get(daemon.http, "/health/ready"),
        |answer| answer.status == 503,
    );
    assert_eq!(ready.header("connection"), Some("close"));
    assert_eq!(get(daemon.http, "/health/live").status, 200);
    deploy.send(&BODY.as_bytes()[20..]);
    let answer = deploy.answer(true);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(daemon.ended().success());
}

#[test]
fn a_deploy_cut_at_the_end_of_the_window_publishes_nothing_and_can_be_repeated() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut first = Builder::at(home.path())
        .env("SEANCE_HTTP__DRAIN_SECONDS", "1")
        .start();
    let key = first.builder_key();
    let mut deploy = half_sent(&first, &key);
    first.signal(libc::SIGTERM);
    assert!(first.ended().success());
    assert!(deploy.try_answer(true).is_none());
    let audit = std::fs::read_to_string(home.path().join("state/audit/audit.jsonl"));
    let audit = audit.expect("an audit");
    let record: serde_json::Value = serde_json::from_str(&audit).expect("one record");
    assert_eq!(record["action"], "deploy", "{audit}");
    assert_eq!(record["result"], "DENIED", "{audit}");
    assert_eq!(record["details"], "The body ended early", "{audit}");
    let second = Builder::at(home.path()).start();
    assert_eq!(get(second.http, "/updates/drained.txt").status, 404);
    let headers = [
        ("X-Builder-Key", key.as_str()),
        ("Content-Type", "application/json"),
    ];
    let answer = request(second.http, "POST", "/deploy", &headers, BODY.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(get(second.http, "/updates/drained.txt").text(), "hello\n");
}

#[test]
#[ignore = "needs Ceph RGW: tests/run"]
fn a_rotated_secret_is_taken_up_by_a_reload() {
    let bucket = Bucket::fresh();
    let home = tempfile::tempdir().expect("a temporary directory");
    let secret = home.path().join("secret");
    std::fs::write(&secret, "wrong").expect("a secret");
    let config: String = bucket
        .toml()
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some(("secret_access_key_file", _)) => format!("secret_access_key_file = {secret:?}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let daemon = Builder::at(home.path())
        .config(&config)
        .env("SEANCE_DEPLOY__FOLLOW_SECONDS", "1")
        .start();
    let health = || get(daemon.http, "/health");
    assert_eq!(health().status, 503);
    assert_eq!(get(daemon.http, "/health/ready").status, 503);
    let right = bucket.toml();
    let right = right
        .lines()
        .find_map(|line| line.strip_prefix("secret_access_key_file = "));
    std::fs::copy(right.expect("a file").trim_matches('"'), &secret).expect("a secret");
    daemon.reload(&config);
    wait_until("the bucket is known", health, |answer| answer.status == 200);
    assert!(
        !daemon
            .log()
            .contains("it takes effect with the next restart"),
        "{}",
        daemon.log()
    );
}
