//! Requests over HTTP/2 outside the grammar of RFC 9113 §8 are refused, and nothing of them reaches a server behind the
//! proxy.

use crate::harness::frames::{fields, request};
use crate::harness::probe::{ROUTES, Target};
use crate::harness::probe_http2::Wanted::{self, Either, Status};
use crate::harness::probe_http2::{PROTOCOL_ERROR, fits, run};

/// Fields of stream 1 behind `:method` and `:scheme`; `PATH` and `HOST` are those of the route.
type Fields<'a> = &'a [(&'a str, &'a str)];

const REQUESTS: &[(&str, Fields, Wanted)] = &[
    (
        "a request",
        &[(":authority", "HOST"), (":path", "PATH")],
        Status(200),
    ),
    (
        "a field for the host",
        &[(":path", "PATH"), ("host", "HOST")],
        Status(200),
    ),
    (
        "both, the same",
        &[(":authority", "HOST"), (":path", "PATH"), ("host", "HOST")],
        Status(200),
    ),
    ("no host", &[(":path", "PATH")], Status(400)),
    (
        "another host in the field",
        &[(":authority", "HOST"), (":path", "PATH"), ("host", "other")],
        Status(400),
    ),
    (
        "two hosts",
        &[(":path", "PATH"), ("host", "HOST"), ("host", "HOST")],
        Status(400),
    ),
    (
        "user information",
        &[(":authority", "other@HOST"), (":path", "PATH")],
        Status(400),
    ),
    (
        "another host",
        &[(":authority", "other"), (":path", "PATH")],
        Status(421),
    ),
    (
        "an empty host",
        &[(":authority", ""), (":path", "PATH")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "a space in the host",
        &[(":authority", "HOST x"), (":path", "PATH")],
        Either(PROTOCOL_ERROR),
    ),
    ("no path", &[(":authority", "HOST")], Either(PROTOCOL_ERROR)),
    (
        "an empty path",
        &[(":authority", "HOST"), (":path", "")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "a path without a slash",
        &[(":authority", "HOST"), (":path", "x")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "a space in the path",
        &[(":authority", "HOST"), (":path", "PATH x")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "CR LF in the path",
        &[(":authority", "HOST"), (":path", "PATH HTTP/1.1\r\nX: 1")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "two paths",
        &[(":authority", "HOST"), (":path", "PATH"), (":path", "PATH")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "two methods",
        &[
            (":method", "GET"),
            (":authority", "HOST"),
            (":path", "PATH"),
        ],
        Either(PROTOCOL_ERROR),
    ),
    (
        "a pseudo-field behind a field",
        &[(":authority", "HOST"), ("x", "1"), (":path", "PATH")],
        Either(PROTOCOL_ERROR),
    ),
];

/// One field more, and a good request is none.
const SPOILT: &[(&str, &str, &str)] = &[
    ("an unknown pseudo-field", ":x", "1"),
    ("a pseudo-field of answers", ":status", "200"),
    ("upper case in a name", "X", "1"),
    ("a space in a name", "x y", "1"),
    ("a colon in a name", "x:y", "1"),
    ("an empty name", "", "1"),
    ("CR LF in a value", "x", "1\r\ny: 2"),
    ("LF in a value", "x", "1\ny: 2"),
    ("NUL in a value", "x", "1\0"),
    ("transfer-encoding", "transfer-encoding", "chunked"),
    ("connection", "connection", "close"),
    ("keep-alive", "keep-alive", "timeout=1"),
    ("proxy-connection", "proxy-connection", "close"),
    ("upgrade", "upgrade", "h2c"),
    ("te that is not trailers", "te", "gzip"),
    (
        "a length of a body that does not come",
        "content-length",
        "5",
    ),
];

#[test]
fn a_request_outside_the_grammar_is_refused() {
    let target = Target::start("");
    let good = [(":authority", "HOST"), (":path", "PATH")];
    let spoilt = SPOILT.iter().map(|(name, field, value)| {
        let fields = [&good[..], &[(*field, *value)]].concat();
        (*name, fields, Either(PROTOCOL_ERROR))
    });
    let requests = REQUESTS.iter();
    let requests = requests.map(|(name, fields, wanted)| (*name, fields.to_vec(), *wanted));
    let mut wrong = Vec::new();
    for (name, extra, wanted) in requests.chain(spoilt) {
        for entrance in &target.entrances("h2") {
            for path in ROUTES {
                let front = [(":method", "GET"), (":scheme", "https")];
                let given = front.iter().chain(&extra);
                let given: Vec<(&str, String)> = given
                    .map(|(name, value)| {
                        let value = value.replace("PATH", path).replace("HOST", entrance.host);
                        (*name, value)
                    })
                    .collect();
                let given: Vec<(&str, &str)> = given
                    .iter()
                    .map(|(name, value)| (*name, value.as_str()))
                    .collect();
                target.passed_on();
                let seen = run(entrance, &request(1, &fields(&given)));
                let passed_on = target.passed_on().len();
                if !fits(wanted, &seen) || (passed_on > 0 && !matches!(wanted, Status(200))) {
                    let place = format!("{}{path}", entrance.host);
                    wrong.push(format!(
                        "{name} ({place}): wanted {wanted:?}; {seen:?}, passed on {passed_on}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    target.assert_serves("all probes");
}
