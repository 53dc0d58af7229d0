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
        "an unknown pseudo-field",
        &[(":authority", "HOST"), (":path", "PATH"), (":x", "1")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "a pseudo-field of answers",
        &[
            (":authority", "HOST"),
            (":path", "PATH"),
            (":status", "200"),
        ],
        Either(PROTOCOL_ERROR),
    ),
    (
        "a pseudo-field behind a field",
        &[(":authority", "HOST"), ("x", "1"), (":path", "PATH")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "upper case in a name",
        &[(":authority", "HOST"), (":path", "PATH"), ("X", "1")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "a space in a name",
        &[(":authority", "HOST"), (":path", "PATH"), ("x y", "1")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "a colon in a name",
        &[(":authority", "HOST"), (":path", "PATH"), ("x:y", "1")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "an empty name",
        &[(":authority", "HOST"), (":path", "PATH"), ("", "1")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "CR LF in a value",
        &[
            (":authority", "HOST"),
            (":path", "PATH"),
            ("x", "1\r\ny: 2"),
        ],
        Either(PROTOCOL_ERROR),
    ),
    (
        "LF in a value",
        &[(":authority", "HOST"), (":path", "PATH"), ("x", "1\ny: 2")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "NUL in a value",
        &[(":authority", "HOST"), (":path", "PATH"), ("x", "1\0")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "transfer-encoding",
        &[
            (":authority", "HOST"),
            (":path", "PATH"),
            ("transfer-encoding", "chunked"),
        ],
        Either(PROTOCOL_ERROR),
    ),
    (
        "connection",
        &[
            (":authority", "HOST"),
            (":path", "PATH"),
            ("connection", "close"),
        ],
        Either(PROTOCOL_ERROR),
    ),
    (
        "keep-alive",
        &[
            (":authority", "HOST"),
            (":path", "PATH"),
            ("keep-alive", "timeout=1"),
        ],
        Either(PROTOCOL_ERROR),
    ),
    (
        "proxy-connection",
        &[
            (":authority", "HOST"),
            (":path", "PATH"),
            ("proxy-connection", "close"),
        ],
        Either(PROTOCOL_ERROR),
    ),
    (
        "upgrade",
        &[
            (":authority", "HOST"),
            (":path", "PATH"),
            ("upgrade", "h2c"),
        ],
        Either(PROTOCOL_ERROR),
    ),
    (
        "te that is not trailers",
        &[(":authority", "HOST"), (":path", "PATH"), ("te", "gzip")],
        Either(PROTOCOL_ERROR),
    ),
    (
        "a length of a body that does not come",
        &[
            (":authority", "HOST"),
            (":path", "PATH"),
            ("content-length", "5"),
        ],
        Either(PROTOCOL_ERROR),
    ),
];

#[test]
fn a_request_outside_the_grammar_is_refused() {
    let target = Target::start("");
    let mut wrong = Vec::new();
    for (name, extra, wanted) in REQUESTS {
        for entrance in &target.entrances("h2") {
            for path in ROUTES {
                let front = [(":method", "GET"), (":scheme", "https")];
                let given = front.iter().chain(*extra);
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
                if !fits(*wanted, &seen) || (passed_on > 0 && !matches!(wanted, Status(200))) {
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
