//! Who may enter: room tokens, the keys that sign them, TURN credentials, and what a back end may ask.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::harness::http::request as http;
use crate::harness::wait::wait_until;
use crate::harness::websocket::{WebSocket, handshake, request};
use crate::harness::{Builder, Daemon, command};

const API_KEY: &str = "a key of a back end";

struct Access {
    daemon: Daemon,
    keys: tempfile::TempDir,
    address: SocketAddr,
}

pub fn config(keys: &tempfile::TempDir, files: &[&str], more: &str) -> String {
    for file in files {
        std::fs::write(
            keys.path().join(file),
            format!("{file}{}\n", "x".repeat(32)),
        )
        .expect("a key file");
    }
    let files: Vec<_> = files.iter().map(|file| keys.path().join(file)).collect();
    let hash = hex::encode(aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        API_KEY.as_bytes(),
    ));
    format!("[signaling]\ntoken_key_files = {files:?}\napi_key_hashes = [\"{hash}\"]\n{more}\n")
}

fn start(more: &str) -> Access {
    let keys = tempfile::tempdir().expect("a temporary directory");
    let turn = keys.path().join("turn");
    std::fs::write(&turn, "north\n").expect("a secret file");
    let more = &more.replace("TURN-SECRET", command::path(&turn));
    let daemon = Builder::new()
        .config(&config(&keys, &["first"], more))
        .start();
    let address = daemon.signaling.expect("a signaling address");
    Access {
        daemon,
        keys,
        address,
    }
}

fn post(daemon: &Daemon, path: &str, key: &str, body: &Value) -> (u16, Value) {
    let fields = [
        ("Authorization", &*format!("Bearer {key}")),
        ("Content-Type", "application/json"),
    ];
    let answer = http(
        daemon.http,
        "POST",
        path,
        &fields,
        body.to_string().as_bytes(),
    );
    (answer.status, answer.json())
}

fn token(daemon: &Daemon, order: &Value) -> String {
    let (status, answer) = post(daemon, "/api/signaling/token", API_KEY, order);
    assert_eq!(status, 200, "{answer}");
    answer["token"].as_str().expect("a token").to_owned()
}

/// A peer with this token, or the status that refused it.
fn enter(address: SocketAddr, token: &str) -> Result<WebSocket, String> {
    WebSocket::open(address, &format!("/?a=b&token={token}"), "")
        .map_err(|head| head[9..12].to_owned())
}

#[test]
fn a_required_token_opens_the_door_and_nothing_else_does() {
    let Access {
        daemon, address, ..
    } = start("require_token = true");
    let good = token(&daemon, &json!({"topics": ["room"]}));
    enter(address, &good)
        .expect("the token is good")
        .subscribe("room");
    for bad in ["", "nonsense", "a.b.c", &good[..good.len() - 1]] {
        assert_eq!(enter(address, bad).err().as_deref(), Some("401"), "{bad}");
    }
    assert!(
        request(address, &handshake("/", ""))
            .1
            .starts_with("HTTP/1.1 401 ")
    );
    assert!(
        request(daemon.http, &handshake("/signaling", ""))
            .1
            .starts_with("HTTP/1.1 401 ")
    );
    let path = format!("/signaling?token={good}");
    WebSocket::open(daemon.http, &path, "")
        .expect("the token is good")
        .subscribe("room");
    let (_, log) = daemon.stop();
    assert!(
        !log.contains(&good) && !log.contains("token="),
        "a token is never logged"
    );
}

#[test]
fn a_token_names_topics_and_rights() {
    let Access {
        daemon, address, ..
    } = start("");
    let mut open = WebSocket::connect(address);
    open.subscribe("room");
    open.subscribe("team/doc");
    let speaker = token(&daemon, &json!({"prefixes": ["team/"], "subscribe": false}));
    let mut speaker = enter(address, &speaker).expect("the token is good");
    speaker.publish("team/doc", "hello");
    assert_eq!(open.delivery()["data"], "hello");
    speaker.publish("room", "not allowed");
    let forbidden = (1008, "not allowed by the token".to_owned());
    assert_eq!(speaker.closed(), forbidden);
    let listener = token(&daemon, &json!({"topics": ["room"], "publish": false}));
    let mut listener_peer = enter(address, &listener).expect("the token is good");
    listener_peer.subscribe("room");
    open.publish("room", "listen");
    assert_eq!(open.delivery()["clients"], 2);
    assert_eq!(listener_peer.delivery()["data"], "listen");
    listener_peer.text(r#"{"type":"subscribe","topics":["room","team/doc"]}"#);
    assert_eq!(listener_peer.closed(), forbidden);
    open.settle();
}

#[test]
fn a_connection_ends_with_its_token() {
    let Access {
        daemon, address, ..
    } = start("");
    let short = token(&daemon, &json!({"topics": ["room"], "expiresIn": 4}));
    let mut peer = enter(address, &short).expect("the token is good");
    assert_eq!(peer.closed(), (1008, "token expired".to_owned()));
    assert_eq!(enter(address, &short).err().as_deref(), Some("401"));
}

#[test]
fn keys_rotate_by_reload_without_a_gap() {
    let Access {
        daemon,
        keys,
        address,
    } = start("require_token = true");
    let old = token(&daemon, &json!({"topics": ["room"]}));
    daemon.reload(&config(&keys, &["second", "first"], "require_token = true"));
    let new = token(&daemon, &json!({"topics": ["room"]}));
    let mut veteran = enter(address, &old).expect("the old key still verifies");
    enter(address, &new).expect("the new key signs");
    daemon.reload(&config(&keys, &["second"], "require_token = true"));
    assert_eq!(enter(address, &old).err().as_deref(), Some("401"));
    enter(address, &new).expect("the new key stays");
    veteran.settle();
}

#[test]
fn the_command_line_makes_the_same_tokens() {
    let Access {
        daemon,
        address,
        keys: _keys,
    } = start("require_token = true");
    let file = daemon.home().join("config.toml");
    let file = command::path(&file);
    let made = command::seance(
        &[
            "signaling",
            "token",
            "--config",
            file,
            "--topic",
            "room",
            "--no-publish",
        ],
        &[],
    );
    assert_eq!(made.code, 0, "{}", made.stderr);
    let mut peer = enter(address, made.stdout.trim()).expect("the token is good");
    peer.subscribe("room");
    peer.publish("room", "x");
    assert_eq!(peer.closed().0, 1008);
    let without = command::seance(&["signaling", "token", "--topic", "room"], &[]);
    assert_eq!(without.code, 1);
    assert!(
        without.stderr.contains("token_key_files"),
        "{}",
        without.stderr
    );
}

#[test]
fn only_an_authenticated_back_end_makes_tokens_and_sees_rooms() {
    let Access {
        daemon, address, ..
    } = start("token_lifetime_seconds = 100");
    let order = json!({"topics": ["room"], "expiresIn": 1_000_000});
    assert_eq!(
        post(&daemon, "/api/signaling/token", "wrong", &order).0,
        401
    );
    assert_eq!(
        post(
            &daemon,
            "/api/signaling/token",
            API_KEY,
            &json!({"topic": "x"})
        )
        .0,
        400
    );
    let (_, answer) = post(&daemon, "/api/signaling/token", API_KEY, &order);
    let expires: jiff::Timestamp = answer["expires"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a time");
    assert!(expires.duration_since(jiff::Timestamp::now()).as_secs() <= 100);
    let mut peers = [WebSocket::connect(address), WebSocket::connect(address)];
    peers.iter_mut().for_each(|peer| peer.subscribe("room"));
    peers[0].subscribe("another");
    let rooms = |key: &str| {
        let bearer = format!("Bearer {key}");
        http(
            daemon.http,
            "GET",
            "/api/signaling/rooms",
            &[("Authorization", &*bearer)],
            b"",
        )
    };
    assert_eq!(rooms("wrong").status, 401);
    let expected = json!({"connections": 2, "topics": 2, "rooms": [
        {"topic": "room", "subscribers": 2, "total": 2}, {"topic": "another", "subscribers": 1, "total": 1}]});
    assert_eq!(rooms(API_KEY).json(), expected);
    drop(peers);
    wait_until(
        "they are gone",
        || rooms(API_KEY).json()["connections"].clone(),
        |left| *left == 0,
    );
    let off = Builder::new().start();
    assert_eq!(post(&off, "/api/signaling/token", API_KEY, &order).0, 501);
}

#[test]
fn turn_credentials_are_those_that_coturn_computes() {
    let turn = "[signaling.turn]\nurls = [\"turn:turn.example.com\"]\nsecret_file = \"TURN-SECRET\"\nlifetime_seconds = 600\n";
    let Access { daemon, .. } = start(turn);
    let answer = http(daemon.http, "GET", "/api/turn?user=ada", &[], b"");
    assert_eq!(
        (answer.status, answer.header("cache-control")),
        (200, Some("no-store"))
    );
    let body = answer.json();
    let (expires, user) = body["username"]
        .as_str()
        .and_then(|name| name.split_once(':'))
        .expect("a name");
    let left = expires.parse::<i64>().expect("a time") - jiff::Timestamp::now().as_second();
    assert!(user == "ada" && (590..=600).contains(&left), "{body}");
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"north");
    let mac = aws_lc_rs::hmac::sign(&key, format!("{expires}:ada").as_bytes());
    assert_eq!(
        body["password"],
        base64_simd::STANDARD.encode_to_string(mac.as_ref())
    );
    assert_eq!(body["iceServers"][0]["credential"], body["password"]);
    assert_eq!(body["uris"], json!(["turn:turn.example.com"]));
    assert_eq!(
        http(daemon.http, "GET", "/api/turn?user=a%3Ab", &[], b"").status,
        400
    );
    assert_eq!(
        http(Builder::new().start().http, "GET", "/api/turn", &[], b"").status,
        501
    );
}

#[test]
fn turn_credentials_need_what_the_room_needs() {
    let turn = "require_token = true\nallowed_origins = [\"https://app.example.com\"]\n\
                [signaling.turn]\nurls = [\"turn:turn.example.com\"]\nsecret_file = \"TURN-SECRET\"\n";
    let Access { daemon, .. } = start(turn);
    let token = token(&daemon, &json!({"topics": ["room"]}));
    let origin = ("Origin", "https://app.example.com");
    let get =
        |path: &str, fields: &[(&str, &str)]| http(daemon.http, "GET", path, fields, b"").status;
    assert_eq!(get(&format!("/api/turn?token={token}"), &[origin]), 200);
    assert_eq!(get(&format!("/api/turn?token={token}"), &[]), 403);
    // A page of the same server names no origin.
    let turn = format!("/api/turn?token={token}");
    assert_eq!(get(&turn, &[("Sec-Fetch-Site", "same-origin")]), 200);
    assert_eq!(get(&turn, &[("Sec-Fetch-Site", "cross-site")]), 403);
    let evil = ("Origin", "https://evil.example.com");
    assert_eq!(get(&turn, &[evil, ("Sec-Fetch-Site", "same-origin")]), 403);
    assert_eq!(get("/api/turn", &[origin]), 401);
}

#[test]
fn no_token_is_made_that_could_never_be_used() {
    let Access {
        daemon,
        keys: _keys,
        ..
    } = start("");
    let many: Vec<String> = (0..500).map(|n| format!("a long topic {n:06}")).collect();
    for (order, field) in [
        (json!({}), "`topics` and `prefixes`"),
        (json!({"topics": ["a"], "expiresIn": 0}), "`expiresIn`"),
        (
            json!({"topics": ["a"], "publish": false, "subscribe": false}),
            "`publish` and `subscribe`",
        ),
        (json!({"topics": many}), "it may have 8192"),
    ] {
        let (status, answer) = post(&daemon, "/api/signaling/token", API_KEY, &order);
        assert_eq!(status, 400, "{answer}");
        let message = answer["message"].as_str().expect("a message");
        assert!(message.contains(field), "{message}");
    }
    let file = daemon.home().join("config.toml");
    let config = ["signaling", "token", "--config", command::path(&file)];
    for (more, field) in [
        (&[][..], "`topics` and `prefixes`"),
        (&["--topic", "a", "--expires-in", "0"], "`expiresIn`"),
    ] {
        let made = command::seance(&[&config, more].concat(), &[]);
        assert_eq!((made.code, &*made.stdout), (1, ""));
        assert!(made.stderr.contains(field), "{}", made.stderr);
    }
}

#[test]
fn a_reload_with_a_key_that_is_none_changes_nothing() {
    let Access {
        daemon,
        keys,
        address,
    } = start("require_token = true");
    let good = token(&daemon, &json!({"topics": ["room"]}));
    for key in ["x", ""] {
        let text = config(&keys, &["second"], "max_topic_bytes = 2");
        std::fs::write(keys.path().join("second"), key).expect("a key file");
        let ready = daemon.reload(&text);
        assert!(ready.contains("STATUS=reload failed"), "{ready}");
        enter(address, &good)
            .expect("the old key is in force")
            .subscribe("room");
        assert_eq!(enter(address, "").err().as_deref(), Some("401"));
    }
    std::fs::remove_file(keys.path().join("second")).expect("the key file");
    let text = config(&keys, &[], "").replace("[]", "[\"/nowhere/key\"]");
    assert!(daemon.reload(&text).contains("STATUS=reload failed"));
    let log = daemon.log();
    assert!(log.contains("shorter than 32 bytes"), "{log}");
    assert!(!log.contains("configuration reloaded"), "{log}");
}
