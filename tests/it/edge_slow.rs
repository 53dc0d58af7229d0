//! A client that is slow on purpose is cut; one that is slow because its line is, or because the server is, is not.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::harness::Builder;
use crate::harness::http::{Connection, head};
use crate::harness::probe::{Entrance, LARGE, Target};
use crate::harness::release::{body, files};
use crate::harness::upstream::{Upstream, ok};
use crate::harness::wait::wait_until;

/// The daemon's own patience, and that of everybody who is on the way.
pub const SLOW: Duration = Duration::from_secs(15);

/// What a stream says in the next moment: bytes, its end, or nothing.
fn listen(stream: &mut TcpStream, moment: Duration) -> Option<usize> {
    stream.set_read_timeout(Some(moment)).expect("a timeout");
    match stream.read(&mut [0; 4096]) {
        Ok(length) => Some(length),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Some(0),
        Err(error) => panic!("{error}"),
    }
}

/// Sends `piece` every 100 ms and returns what the daemon says when it says something.
fn dribble(mut stream: TcpStream, piece: &[u8]) -> String {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < SLOW, "held for {:?}", begun.elapsed());
        let taken = stream.write_all(piece).is_ok();
        stream
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a timeout");
        let mut answer = [0; 4096];
        match stream.read(&mut answer) {
            Ok(length) => return String::from_utf8_lossy(&answer[..length]).into_owned(),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("{error} (sent: {taken})"),
        }
    }
}

fn post(host: &str, path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100000\r\n\r\n")
}

#[test]
fn a_body_of_which_nothing_comes_is_answered_408() {
    let target = Target::start("body_timeout_seconds = 1");
    for entrance in &target.entrances("http/1.1") {
        let mut stream = entrance.connect();
        let request = post(entrance.host, "/proxied/");
        stream.write_all(request.as_bytes()).expect("a head");
        stream.write_all(b"begun").expect("a part");
        let begun = Instant::now();
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("an answer and the end");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        for field in [
            "connection: close",
            "x-content-type-options: nosniff",
            "x-request-id: ",
        ] {
            assert!(answer.contains(field), "{field}: {answer}");
        }
        assert!(begun.elapsed() < SLOW, "held for {:?}", begun.elapsed());
    }
    assert!(target.passed_on().is_empty(), "no whole request");
}

#[test]
fn a_body_below_the_least_rate_is_answered_408_and_one_above_it_is_taken() {
    let target = Target::start("body_timeout_seconds = 5\nmin_bytes_per_second = 1000");
    for entrance in &target.entrances("http/1.1") {
        let mut stream = entrance.connect();
        let request = post(entrance.host, "/proxied/");
        stream.write_all(request.as_bytes()).expect("a head");
        let answer = dribble(stream, b"xxxxx");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        let mut stream = entrance.connect();
        stream.write_all(request.as_bytes()).expect("a head");
        let answer = dribble(stream, &[b'x'; 4000]);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[test]
fn a_deploy_of_which_nothing_comes_is_cut_with_its_lines_in_the_log() {
    let daemon = Builder::new()
        .env("SEANCE_HTTP__BODY_TIMEOUT_SECONDS", "1")
        .start();
    let key = daemon.builder_key();
    let headers = [
        ("X-Builder-Key", key.as_str()),
        ("Content-Type", "application/json"),
    ];
    let mut connection = Connection::open(daemon.http);
    connection.send(&head("POST", "/deploy", &headers, Some(1000)));
    connection.send(b"{\"files\":[");
    let answer = connection.answer(true);
    assert_eq!(answer.status, 408, "{}", answer.text());
    assert!(connection.is_closed());
}

#[test]
fn an_upload_that_waits_for_the_server_is_not_cut() {
    let (go, wait) = channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::start(move |mut peer, _| {
        // It reads nothing until it is told to.
        wait.lock().expect("the signal").recv().unwrap_or_default();
        if peer.request().is_some() {
            peer.send(&ok(b"taken"));
        }
    });
    let config = format!(
        "[http]\nbody_timeout_seconds = 1\n[hosts.localhost]\ntls = \"off\"\n[[hosts.localhost.routes]]\n\
         to = {{ proxy = {{ upstreams = [\"{}\"] }} }}\n",
        upstream.url()
    );
    let daemon = Builder::new().config(&config).start();
    let mut connection = Connection::open(daemon.http);
    let large = vec![7; LARGE];
    connection.send(&head("POST", "/", &[], Some(large.len())));
    let mut stream = connection.stream().try_clone().expect("the same socket");
    std::thread::scope(|scope| {
        scope.spawn(|| stream.write_all(&large).expect("the body is taken"));
        let mut silent = connection.stream().try_clone().expect("the same socket");
        let said = listen(&mut silent, Duration::from_secs(4));
        assert_eq!(said, None, "it is answered before it is read");
        go.send(()).expect("the upstream waits");
        let ceiling = Some(crate::harness::wait::CEILING);
        silent.set_read_timeout(ceiling).expect("a timeout");
        let answer = connection.answer(true);
        assert_eq!((answer.status, answer.text().as_str()), (200, "taken"));
    });
}

#[test]
fn a_deploy_that_waits_for_its_turn_is_not_cut() {
    let daemon = Builder::new()
        .env("SEANCE_HTTP__BODY_TIMEOUT_SECONDS", "5")
        .env("SEANCE_DEPLOY__MAX_CONCURRENT", "1")
        .start();
    let key = daemon.builder_key();
    let headers = [
        ("X-Builder-Key", key.as_str()),
        ("Content-Type", "application/json"),
    ];
    let release = body(&files(&[("releases/a.txt", &vec![b'a'; 20_000_000])]));
    let (mut first, mut second) = (Connection::open(daemon.http), Connection::open(daemon.http));
    first.send(&head("POST", "/deploy", &headers, Some(1_000_000)));
    first.send(b"{");
    second.send(&head("POST", "/deploy", &headers, Some(release.len())));
    let mut stream = second.stream().try_clone().expect("the same socket");
    std::thread::scope(|scope| {
        scope.spawn(|| stream.write_all(&release).expect("the body is taken"));
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(8) {
            // The first one moves, so it keeps its place.
            first.send(&[b' '; 1000]);
            let mut silent = first.stream().try_clone().expect("the same socket");
            assert_eq!(listen(&mut silent, Duration::from_millis(100)), None);
        }
        drop(first);
        let answer = second.answer(true);
        assert_eq!(answer.status, 200, "{}", answer.text());
    });
}

/// A server whose second event comes when it is told to.
pub fn events() -> (Upstream, Sender<()>) {
    let (go, wait) = channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::start(move |mut peer, _| {
        if peer.request().is_some() {
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
            wait.lock().expect("the signal").recv().unwrap_or_default();
            peer.send(b"data: 2\n\n");
        }
    });
    (upstream, go)
}

#[test]
fn a_silent_answer_is_not_cut() {
    let (upstream, go) = events();
    let config = format!(
        "[http]\nheader_timeout_seconds = 1\nbody_timeout_seconds = 1\nwrite_timeout_seconds = 1\n\
         idle_timeout_seconds = 1\n[hosts.localhost]\ntls = \"off\"\n[[hosts.localhost.routes]]\n\
         to = {{ proxy = {{ upstreams = [\"{}\"] }} }}\n",
        upstream.url()
    );
    let daemon = Builder::new().config(&config).start();
    let mut connection = Connection::open(daemon.http);
    connection.send(&head("GET", "/", &[], None));
    let mut stream = connection.stream().try_clone().expect("the same socket");
    let mut seen = String::new();
    let mut piece = [0; 4096];
    while !seen.contains("data: 1") {
        let length = stream.read(&mut piece).expect("the answer's beginning");
        assert_ne!(length, 0, "{seen}");
        seen += &String::from_utf8_lossy(&piece[..length]);
    }
    assert_eq!(
        listen(&mut stream, Duration::from_secs(4)),
        None,
        "it is silent"
    );
    go.send(()).expect("the upstream waits");
    let rest = listen(&mut stream, SLOW);
    assert!(
        rest.is_some_and(|length| length > 0),
        "it goes on: {rest:?}"
    );
}

/// A request and its answer, on a connection that stays.
#[track_caller]
fn exchange(stream: &mut TcpStream, host: &str) {
    let text = format!("GET /health/live HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(text.as_bytes()).expect("a request");
    assert!(listen(stream, SLOW).is_some_and(|length| length > 0));
}

#[test]
fn silence_between_requests_has_its_own_patience() {
    let target = Target::start("header_timeout_seconds = 5\nidle_timeout_seconds = 60");
    for entrance in &target.entrances("http/1.1") {
        let mut stream = entrance.connect();
        exchange(&mut stream, entrance.host);
        assert_eq!(listen(&mut stream, Duration::from_secs(8)), None, "kept");
        exchange(&mut stream, entrance.host);
        // A head that has begun has not.
        stream.write_all(b"GET / HT").expect("a part of a third");
        assert_eq!(listen(&mut stream, SLOW), Some(0), "cut");
    }
    let target = Target::start("idle_timeout_seconds = 1");
    for entrance in &target.entrances("http/1.1") {
        let mut stream = entrance.connect();
        exchange(&mut stream, entrance.host);
        assert_eq!(listen(&mut stream, SLOW), Some(0), "closed");
    }
}

#[test]
fn an_empty_line_gives_a_first_head_no_more_time() {
    let target = Target::start("header_timeout_seconds = 1\nidle_timeout_seconds = 60");
    for entrance in &target.entrances("http/1.1") {
        let begun = Instant::now();
        let mut stream = entrance.connect();
        stream.write_all(b"\r\n").expect("an empty line");
        assert_eq!(listen(&mut stream, SLOW), Some(0), "cut");
        assert!(begun.elapsed() < SLOW, "held for {:?}", begun.elapsed());
    }
}

/// Asks for `/files/large.bin` and reads about so many bytes of the answer, with little room for more.
fn begin_download(entrance: &Entrance, bytes: usize) -> TcpStream {
    let mut stream = entrance.connect();
    let room = SockRef::from(&stream).set_recv_buffer_size(64 * 1024);
    room.expect("a buffer");
    let text = format!(
        "GET /files/large.bin HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        entrance.host
    );
    stream.write_all(text.as_bytes()).expect("a request");
    stream
        .read_exact(&mut vec![0; bytes])
        .expect("the beginning of the answer");
    stream
}

fn rest(mut stream: TcpStream) -> usize {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the rest");
    rest.len()
}

#[test]
fn a_reader_that_took_nothing_or_little_is_cut() {
    let target = Target::start("write_timeout_seconds = 1");
    let [plain, _] = target.entrances("http/1.1");
    let begun = Instant::now();
    let streams = [0, 4096].map(|bytes| begin_download(&plain, bytes));
    let mut held = Vec::from(streams);
    let left = || {
        held.retain(|stream| stream.take_error().expect("its state").is_none());
        held.len()
    };
    wait_until("they are cut", left, |left| *left == 0);
    assert!(begun.elapsed() < SLOW, "held for {:?}", begun.elapsed());
}

#[test]
fn a_reader_that_took_much_may_rest_and_gets_everything() {
    let target = Target::start("write_timeout_seconds = 1");
    let [plain, _] = target.entrances("http/1.1");
    let read = 1024 * 1024;
    let mut stream = begin_download(&plain, read);
    // It has earned minutes, and the limit is a second.
    let pause = Duration::from_secs(6);
    channel::<()>().1.recv_timeout(pause).unwrap_err();
    stream.read_exact(&mut [0; 4096]).expect("it goes on");
    assert!(read + 4096 + rest(stream) > LARGE);
}

#[test]
fn the_end_of_a_download_may_take_longer_than_silence_may_last() {
    let target = Target::start("idle_timeout_seconds = 1");
    let [plain, _] = target.entrances("http/1.1");
    let mut received = LARGE - 6 * 1024 * 1024;
    let mut stream = begin_download(&plain, received);
    let mut piece = vec![0; 32 * 1024];
    // The daemon has written all of it long before. Its system asks for more only when a good part of its own buffer is
    // free, which is seconds apart here.
    let (never, pace) = (channel::<()>(), Duration::from_millis(80));
    loop {
        let length = stream.read(&mut piece).expect("it goes on");
        if length == 0 {
            break;
        }
        received += length;
        never.1.recv_timeout(pace).unwrap_err();
    }
    assert!(received > LARGE, "{received} bytes");
}
