//! What a CA asks us to wait for is obeyed, and no CA and no stranger keeps a name from its certificate.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::harness::acme::figure;
use crate::harness::faked_ca::{FakedCa, answer};
use crate::harness::http::request;
use crate::harness::wait::wait_until;
use crate::harness::{Builder, key_hash};

const NAME: &str = "one.example";

#[test]
fn a_ca_that_asks_for_an_endless_wait_ends_no_renewals() {
    let ca = FakedCa::answering(|_| {
        let never = format!("Retry-After: {}\r\n", u64::MAX);
        answer("503 Service Unavailable", &never, "")
    });
    let config = format!("{}[hosts.\"{NAME}\"]\n", ca.toml());
    let daemon = Builder::new().config(&config).start();
    let counted = || figure(&daemon, "unreachable", NAME);
    wait_until("the failure is counted", counted, |count| *count == 1);
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

#[test]
fn a_limit_of_the_ca_is_kept_to_for_as_long_as_it_says() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let times = asked.clone();
    let ca = FakedCa::answering(move |request| {
        let base = format!("https://{}", request.field("host").unwrap_or_default());
        let nonce = "Replay-Nonce: bm9uY2U\r\n";
        if request.line().starts_with("GET /dir ") {
            let directory = format!(
                "{{\"newNonce\":\"{base}/nonce\",\"newAccount\":\"{base}/account\",\"newOrder\":\"{base}/order\"}}"
            );
            return answer("200 OK", "Content-Type: application/json\r\n", &directory);
        }
        if !request.line().starts_with("POST /account ") {
            return answer("200 OK", nonce, "");
        }
        times.lock().expect("the times").push(Instant::now());
        let problem =
            "{\"type\":\"urn:ietf:params:acme:error:rateLimited\",\"detail\":\"too many\"}";
        let fields = format!("{nonce}Retry-After: 2\r\n");
        answer("429 Too Many Requests", &fields, problem)
    });
    let config = format!("{}[hosts.\"{NAME}\"]\n", ca.toml());
    let daemon = Builder::new().config(&config).start();
    let times = || asked.lock().expect("the times").clone();
    let times = wait_until("it is asked again", times, |times| times.len() >= 2);
    let pause = times[1].duration_since(times[0]);
    assert!(pause >= Duration::from_secs(2), "{pause:?}");
    assert!(figure(&daemon, "rate_limited", NAME) >= 1);
    assert!(daemon.log().contains("too many"), "{}", daemon.log());
}

#[test]
fn strangers_that_pose_as_the_ca_cost_the_store_one_question_a_second() {
    let home = tempfile::tempdir().expect("a temporary directory");
    // Nothing listens there.
    let ca = "https://127.0.0.1:9/dir";
    let config = format!(
        "[store]\ndirectory = \"{}\"\n[acme]\ndirectory = \"{ca}\"\nstorage = \"store\"\n[hosts.\"{NAME}\"]\n",
        home.path().display()
    );
    let daemon = Builder::new().config(&config).start();
    let host = [("Host", NAME)];
    let path = "/.well-known/acme-challenge/token";
    let ask = || request(daemon.http, "GET", path, &host, b"");
    let began = Instant::now();
    assert_eq!(ask().status, 404);
    let hash = key_hash(ca);
    let place = format!(".seance/acme/127.0.0.1-{}/challenges", &hash[..8]);
    let place = home.path().join(place);
    std::fs::create_dir_all(&place).expect("a folder");
    let response = "{\"token\":\"token\",\"key_authorization\":\"token.key\"}";
    std::fs::write(place.join(format!("{NAME}.json")), response).expect("a file");
    let found = wait_until("it is found", ask, |answer| answer.status == 200);
    assert_eq!(found.text(), "token.key");
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1), "found after {took:?}");
}
