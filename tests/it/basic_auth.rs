//! Routes that want a name and a password.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use base64_simd::STANDARD;

use crate::harness::command::check_config;
use crate::harness::http::{Answer, Connection, request};
use crate::harness::upstream::{Upstream, ok};
use crate::harness::wait::{CEILING, wait_until};
use crate::harness::{Builder, Daemon};

/// `open sesame`, as libxcrypt and `htpasswd -B` hash it.
const ALADDIN: &str = "$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW";
/// `123£`.
const TEST: &str = "$2b$04$abcdefghijklmnopqrstuu2aG2DsX9FsX/hhmOneEyswww7FK9YLq";

fn host(route: &str) -> String {
    format!("[hosts.\"a.test\"]\ntls = \"off\"\n[[hosts.\"a.test\".routes]]\n{route}\n")
}

/// The table of users.
fn users(list: &str) -> String {
    host(&format!(
        "to = {{ respond = {{ body = \"inside\" }} }}\nbasic_auth = {{ realm = \"The Cave\", users = {{ {list} }} }}"
    ))
}

fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode_to_string(pair))
}

fn ask(daemon: &Daemon, pair: &str, more: &[(&str, &str)]) -> Answer {
    let authorization = basic(pair);
    let mut fields = vec![("Host", "a.test"), ("Authorization", &authorization)];
    fields.extend(more);
    request(daemon.http, "GET", "/", &fields, b"")
}

fn start(config: &str) -> Daemon {
    Builder::new().config(config).start()
}

#[test]
fn only_the_right_name_with_its_password_comes_in() {
    let daemon = start(&users(&format!(
        "Aladdin = \"{ALADDIN}\", \"test user\" = \"{TEST}\""
    )));
    let nobody = request(daemon.http, "GET", "/", &[("Host", "a.test")], b"");
    assert_eq!(nobody.status, 401);
    let challenge = "Basic realm=\"The Cave\", charset=\"UTF-8\"";
    assert_eq!(nobody.header("www-authenticate"), Some(challenge));
    assert!(nobody.header("x-request-id").is_some());
    for (pair, status) in [
        ("Aladdin:open sesame", 200),
        ("test user:123£", 200),
        ("Aladdin:open sesam", 401),
        ("Aladdin:123£", 401),
        ("aladdin:open sesame", 401),
        ("Ali Baba:open sesame", 401),
        ("Aladdin", 401),
        // The second time it is remembered, for this user alone.
        ("Aladdin:open sesame", 200),
        ("test user:open sesame", 401),
        ("Ali Baba:open sesame", 401),
    ] {
        let answer = ask(&daemon, pair, &[]);
        assert_eq!(answer.status, status, "{pair}");
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
    }
    let twice = ask(
        &daemon,
        "Aladdin:open sesame",
        &[("Authorization", "Basic YTpi")],
    );
    assert_eq!(twice.status, 401, "two fields");
    assert!(!daemon.log().contains("sesame"), "{}", daemon.log());
}

#[test]
fn an_upstream_never_sees_the_password() {
    let upstream = Upstream::answering(|request| ok(request.head.as_bytes()));
    let daemon = start(&host(&format!(
        "to = {{ proxy = {{ upstreams = [\"{}\"] }} }}\nbasic_auth = {{ users = {{ Aladdin = \"{ALADDIN}\" }} }}",
        upstream.url()
    )));
    assert_eq!(ask(&daemon, "Aladdin:wrong", &[]).status, 401);
    assert_eq!(upstream.connections(), 0);
    let answer = ask(&daemon, "Aladdin:open sesame", &[("X-Other", "stays")]);
    assert_eq!(answer.status, 200);
    let seen = answer.text().to_ascii_lowercase();
    assert!(!seen.contains("authorization"), "{seen}");
    assert!(seen.contains("x-other: stays"), "{seen}");
}

#[test]
fn preflights_need_no_password_and_pages_may_read_the_refusal() {
    let cors = "cors = { origins = [\"https://b.test\"], credentials = true }";
    let daemon = start(&format!(
        "{}{cors}\n",
        users(&format!("Aladdin = \"{ALADDIN}\""))
    ));
    let fields = [
        ("Host", "a.test"),
        ("Origin", "https://b.test"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "authorization"),
    ];
    let preflight = request(daemon.http, "OPTIONS", "/", &fields, b"");
    assert_eq!(preflight.status, 204);
    let allowed = preflight.header("access-control-allow-headers");
    assert!(allowed.is_some_and(|names| names.contains("authorization")));
    let origin = [("Origin", "https://b.test")];
    for (pair, status) in [("Aladdin:wrong", 401), ("Aladdin:open sesame", 200)] {
        let answer = ask(&daemon, pair, &origin);
        assert_eq!(answer.status, status);
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, Some("https://b.test"));
    }
    // OPTIONS that is no preflight is a request like any other.
    assert_eq!(
        request(daemon.http, "OPTIONS", "/", &fields[..2], b"").status,
        401
    );
}

#[test]
fn the_time_of_a_refusal_tells_no_names() {
    // 2^7 times as expensive.
    let dear = "$2b$11$abcdefghijklmnopqrstuu6lhDwPpwPR5H6lygyoxPy//diwvHrV2";
    let users = users(&format!("cheap = \"{TEST}\", dear = \"{dear}\""));
    let daemon = start(&format!(
        "[http]\nfailed_passwords_per_minute = 1000\n{users}"
    ));
    let fastest = |name: &str| {
        let times = (0..4).map(|number| {
            let begun = Instant::now();
            let pair = format!("{name}:wrong {number}");
            assert_eq!(ask(&daemon, &pair, &[]).status, 401, "{pair}");
            begun.elapsed()
        });
        times.min().expect("a time")
    };
    let [cheap, dear, nobody] = ["cheap", "dear", "nobody"].map(fastest);
    for (name, took) in [("cheap", cheap), ("nobody", nobody)] {
        let ratio = took.as_secs_f64() / dear.as_secs_f64();
        assert!(
            (0.6..1.6).contains(&ratio),
            "{name}: {took:?}, dear: {dear:?}"
        );
    }
}

#[test]
fn who_guesses_too_often_is_not_looked_at_for_a_while() {
    let config = format!(
        "[http]\ntrusted_proxies = [\"127.0.0.1\"]\nfailed_passwords_per_minute = 3\n{}",
        users(&format!("Aladdin = \"{ALADDIN}\", test = \"{TEST}\""))
    );
    let daemon = start(&config);
    let here = [("X-Forwarded-For", "2001:db8::1")];
    let near = [("X-Forwarded-For", "2001:db8::2")];
    let there = [("X-Forwarded-For", "2001:db8:1::1")];
    assert_eq!(ask(&daemon, "test:123£", &here).status, 200);
    for guess in ["1", "2", "3"] {
        let answer = ask(&daemon, &format!("Aladdin:{guess}"), &near);
        assert_eq!(answer.status, 401);
    }
    for _reloaded in [false, true] {
        let refused = ask(&daemon, "Aladdin:open sesame", &here);
        assert_eq!(refused.status, 429, "although it is the right one");
        let seconds = refused.header("retry-after").expect("a time");
        let seconds: u64 = seconds.parse().expect("seconds");
        assert!((1..=60).contains(&seconds), "{seconds}");
        assert_eq!(
            ask(&daemon, "test:123£", &here).status,
            200,
            "known to be right"
        );
        daemon.reload(&config);
    }
    assert_eq!(ask(&daemon, "Aladdin:open sesame", &there).status, 200);
}

#[test]
fn a_login_holds_up_nobody_else_and_a_page_full_of_requests_is_one_login() {
    let hash = hash_of("open sesame\n");
    let config = host(&format!(
        "path = \"/in\"\nto = {{ respond = {{ body = \"inside\" }} }}\nbasic_auth = {{ users = {{ Aladdin = \"{hash}\" }} }}\n\
         [[hosts.\"a.test\".routes]]\nto = {{ respond = {{ body = \"outside\" }} }}"
    ));
    let daemon = Builder::new()
        .config(&config)
        .env("SEANCE_HTTP__WORKERS", "1")
        .env("SEANCE_HTTP__FAILED_PASSWORDS_PER_MINUTE", "2")
        .start();
    let begun = Instant::now();
    let (inside, outside) = std::thread::scope(|scope| {
        let login = || {
            let authorization = basic("Aladdin:open sesame");
            let fields = [("Host", "a.test"), ("Authorization", &authorization)];
            let status = request(daemon.http, "GET", "/in", &fields, b"").status;
            (status, Instant::now())
        };
        let logins: Vec<_> = (0..20).map(|_| scope.spawn(login)).collect();
        let mut other = Connection::open(daemon.http);
        let mut answered = Vec::new();
        while logins.iter().all(|login| !login.is_finished()) {
            other.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
            assert_eq!(other.answer(true).text(), "outside");
            answered.push(Instant::now());
        }
        let ended = |login: std::thread::ScopedJoinHandle<_>| login.join().expect("an answer");
        (logins.into_iter().map(ended).collect::<Vec<_>>(), answered)
    });
    assert!(
        inside.iter().all(|(status, _)| *status == 200),
        "{inside:?}"
    );
    let first = inside.iter().map(|(_, at)| *at).min().expect("a login");
    let last = inside.iter().map(|(_, at)| *at).max().expect("a login");
    assert!(
        last - begun < 5 * (first - begun),
        "{:?} for one, {:?} for all",
        first - begun,
        last - begun
    );
    let meanwhile = outside.iter().filter(|at| **at < first).count();
    assert!(meanwhile > 5, "{meanwhile} answers before the first login");
}

#[test]
fn a_file_of_htpasswd_is_read_at_the_start_and_by_a_reload() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("htpasswd");
    let write = |text: &str| std::fs::write(&file, text).expect("a file");
    let config = host(&format!(
        "to = {{ respond = {{ body = \"inside\" }} }}\nbasic_auth = {{ users_file = \"{}\" }}",
        file.display()
    ));
    assert_eq!(check_config(&config, &[]).code, 0, "it need not exist");
    let refused = |text: &str, wanted: &str| {
        write(text);
        let ended = Builder::new().config(&config).try_start();
        let (_, log) = ended.err().expect("it does not start");
        assert!(log.contains(wanted), "no {wanted:?} in {log}");
        assert!(!log.contains("hunter2"), "{log}");
    };
    let line = |number: u8| format!("htpasswd:{number}: ");
    refused("# ours\n\nanna:hunter2\n", &line(3));
    refused(&format!("anna:{ALADDIN}\nanna:{TEST}\n"), &line(2));
    refused("hunter2\n", &line(1));
    write(&format!("# ours\r\n\r\nAladdin:{ALADDIN}\r\n"));
    let daemon = start(&config);
    assert_eq!(ask(&daemon, "Aladdin:open sesame", &[]).status, 200);
    write(&format!("Aladdin:{TEST}\n"));
    daemon.reload(&config);
    assert_eq!(ask(&daemon, "Aladdin:open sesame", &[]).status, 401);
    assert_eq!(ask(&daemon, "Aladdin:123£", &[]).status, 200);
    write("Aladdin:hunter2\n");
    daemon.reload(&config);
    assert_eq!(ask(&daemon, "Aladdin:123£", &[]).status, 200);
    assert!(daemon.log().contains("htpasswd:1: the hash"));
}

#[test]
fn what_is_no_bcrypt_hash_is_refused_with_its_line_and_never_shown() {
    let in_line = |list: &str| users(list);
    let in_section = |list: &str| {
        host(&format!(
            "to = \"backend\"\n[hosts.\"a.test\".routes.basic_auth]\n[hosts.\"a.test\".routes.basic_auth.users]\n{list}"
        ))
    };
    for (config, wanted) in [
        (in_line("anna = \"hunter2\""), "config.toml:5:"),
        (
            in_section("anna = \"hunter2\""),
            "config.toml:7:8: `basic_auth.users`",
        ),
        (in_section("anna = hunter2"), "config.toml:7:"),
        (in_section("anna = [\"hunter2\"]"), "config.toml:7:"),
        (in_section("\"hunter2:x\" = \"\""), "config.toml:7:"),
        (
            host(&format!(
                "basic_auth = {{ realm = \"a\\\"b\", users = {{ a = \"{TEST}\" }} }}"
            )),
            "config.toml:4:",
        ),
        (
            host("basic_auth = { users = \"hunter2\" }"),
            "config.toml:4:",
        ),
        (host("basic_auth = {}"), "neither `users` nor"),
        (
            host(&format!(
                "basic_auth = {{ users_file = \"a\", users = {{ a = \"{TEST}\" }} }}"
            )),
            "one of them has to go",
        ),
    ] {
        let output = check_config(&config, &[]);
        assert_eq!(output.code, 1, "accepted: {config}");
        assert!(
            output.stderr.contains(wanted),
            "no {wanted:?} in {}",
            output.stderr
        );
        assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
    }
    assert_eq!(
        check_config(&in_section(&format!("anna = \"{TEST}\"")), &[]).code,
        0
    );
}

fn hash_command(input: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seance"));
    command.arg("password-hash").env_clear();
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("a code");
    (code, text(output.stdout), text(output.stderr))
}

fn hash_of(input: &str) -> String {
    let (code, hash, told) = hash_command(input);
    assert_eq!((code, told.as_str()), (0, ""));
    hash.trim_end().to_owned()
}

#[test]
fn password_hash_prints_what_the_configuration_takes() {
    let hash = hash_of("pässword: 1\r\n");
    assert!(hash.starts_with("$2b$12$") && hash.len() == 60, "{hash}");
    let daemon = start(&users(&format!("Aladdin = \"{hash}\"")));
    assert_eq!(ask(&daemon, "Aladdin:pässword: 1", &[]).status, 200);
    assert_eq!(ask(&daemon, "Aladdin:pässword: 2", &[]).status, 401);
    assert_ne!(hash_of("pässword: 1\n"), hash, "each has its own salt");
    let long = "x".repeat(73);
    for (input, wanted) in [
        ("", "no password"),
        ("\n", "no password"),
        (long.as_str(), "73 bytes"),
        ("a\tb", "control character"),
    ] {
        let (code, hash, told) = hash_command(input);
        assert_eq!((code, hash.as_str()), (1, ""), "{input:?}");
        assert!(told.contains(wanted), "{told}");
        assert!(input.is_empty() || !told.contains(input.trim_end()) || input == "\n");
    }
}

#[test]
fn a_terminal_does_not_show_the_password() {
    let home = tempfile::tempdir().expect("a directory");
    let seen = home.path().join("seen");
    let shown = || std::fs::read_to_string(&seen).unwrap_or_default();
    let command = format!("{} password-hash", env!("CARGO_BIN_EXE_seance"));
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--flush", "--return", "--echo", "always"])
        .args(["--command", &command])
        .arg(&seen)
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let mut script = script.spawn().expect("script starts");
    let mut terminal = script.stdin.take().expect("its input");
    let mut answer = |question: &str, text: &str| {
        wait_until("it asks", shown, |shown| shown.contains(question));
        terminal.write_all(text.as_bytes()).expect("it reads");
    };
    answer("Password: ", "open sesame\n");
    answer("Once more: ", "open sesame\n");
    let text = wait_until("the hash", shown, |shown| shown.contains("$2b$12$"));
    assert!(!text.contains("sesame"), "{text}");
    let begun = Instant::now();
    let status = script.wait().expect("it ends");
    assert!(status.success() && begun.elapsed() < CEILING, "{status}");
}

#[test]
fn what_stands_behind_a_login_is_for_no_shared_cache() {
    let config = host(&format!(
        "to = {{ respond = {{ body = \"inside\" }} }}\nbasic_auth = {{ users = {{ test = \"{TEST}\" }} }}\n\
         cache = [{{ path = \"/*\", control = \"public, max-age=60, s-maxage=600, immutable\" }}]"
    ));
    let daemon = start(&config);
    let answer = ask(&daemon, "test:123£", &[]);
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("cache-control"),
        Some("private, max-age=60, immutable")
    );
}
