//! HTTP/1.1 as an attacker writes it: refused, once, and nothing of it reaches a server behind the proxy.

use crate::harness::probe::{Entrance, ROUTES, Target, exchange};
use crate::harness::upstream::Received;

/// What a probe is answered. The connection ends in any case.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// This status, and nothing else.
    Only(u16),
    /// Any error, and nothing else: routes that do not read bodies do not see what is wrong with one.
    Refusal,
    /// So many answers that are no errors.
    Answers(usize),
}
use Wanted::{Answers, Only, Refusal};

/// A request within what another reader may take for a body.
const INNER: &str = "GET PATHsmuggled HTTP/1.1\r\nHost: HOST\r\n\r\n";

/// Heads behind `GET PATH HTTP/1.1\r\n`, or whole requests. `PATH` and `HOST` are those of the route, `INNER` a smuggled
/// request.
const HOSTS: &[(&str, &str, Wanted)] = &[
    ("no Host", "\r\n", Only(400)),
    ("two Hosts", "Host: HOST\r\nHost: HOST\r\n\r\n", Only(400)),
    (
        "two differing Hosts",
        "Host: HOST\r\nHost: other\r\n\r\n",
        Only(400),
    ),
    ("an empty Host", "Host:\r\n\r\n", Only(400)),
    ("a list of Hosts", "Host: HOST, other\r\n\r\n", Only(400)),
    ("a space in it", "Host: HOST other\r\n\r\n", Only(400)),
    ("user information", "Host: other@HOST\r\n\r\n", Only(400)),
    ("a path", "Host: HOST/x\r\n\r\n", Only(400)),
    ("a query", "Host: HOST?x\r\n\r\n", Only(400)),
    ("a fragment", "Host: HOST#x\r\n\r\n", Only(400)),
    ("a scheme", "Host: http://HOST\r\n\r\n", Only(400)),
    ("a percent", "Host: %48OST\r\n\r\n", Only(400)),
    (
        "a port that is no number",
        "Host: HOST:x\r\n\r\n",
        Only(400),
    ),
    ("a port with a sign", "Host: HOST:+80\r\n\r\n", Only(400)),
    (
        "a port that is too large",
        "Host: HOST:65536\r\n\r\n",
        Only(400),
    ),
    ("two ports", "Host: HOST:80:80\r\n\r\n", Only(400)),
    ("no name before the port", "Host: :80\r\n\r\n", Only(400)),
    (
        "brackets around no address",
        "Host: [HOST]\r\n\r\n",
        Only(400),
    ),
    (
        "another host",
        "Host: other\r\nConnection: close\r\n\r\n",
        Only(421),
    ),
    ("a space before the colon", "Host : HOST\r\n\r\n", Only(400)),
    ("a tab before the colon", "Host\t: HOST\r\n\r\n", Only(400)),
    (
        "upper case, a dot and a port",
        "Host: HOST.:80\r\nConnection: close\r\n\r\n",
        Answers(1),
    ),
];

const FIELDS: &[(&str, &str, Wanted)] = &[
    ("a bare LF", "Host: HOST\r\nX: 1\nY: 2\r\n\r\n", Only(400)),
    ("a bare LF at the end", "Host: HOST\r\n\n", Only(400)),
    ("a bare CR", "Host: HOST\r\nX: 1\rY: 2\r\n\r\n", Only(400)),
    (
        "a bare CR before the end",
        "Host: HOST\r\nX: 1\r\r\n\r\n",
        Only(400),
    ),
    (
        "a hidden coding behind a bare CR",
        "Host: HOST\r\nX: 1\rTransfer-Encoding: chunked\r\n\r\n",
        Only(400),
    ),
    (
        "a hidden coding behind a bare LF",
        "Host: HOST\r\nX: 1\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nINNER",
        Only(400),
    ),
    ("NUL", "Host: HOST\r\nX: 1\0\r\n\r\n", Only(400)),
    (
        "a control character",
        "Host: HOST\r\nX: \x01\r\n\r\n",
        Only(400),
    ),
    (
        "a folded line",
        "Host: HOST\r\nX: 1\r\n 2\r\n\r\n",
        Only(400),
    ),
    (
        "a folded coding",
        "Host: HOST\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "a space before the first name",
        " Host: HOST\r\n\r\n",
        Only(400),
    ),
    (
        "a line without a colon",
        "Host: HOST\r\nX\r\n\r\n",
        Only(400),
    ),
    ("no name", "Host: HOST\r\n: 1\r\n\r\n", Only(400)),
    (
        "a space in a name",
        "Host: HOST\r\nX Y: 1\r\n\r\n",
        Only(400),
    ),
    (
        "parentheses in a name",
        "Host: HOST\r\nX(Y): 1\r\n\r\n",
        Only(400),
    ),
    (
        "a name beyond ASCII",
        "Host: HOST\r\nX\u{e9}: 1\r\n\r\n",
        Only(400),
    ),
];

/// Behind `POST PATH HTTP/1.1\r\nHost: HOST\r\n`.
const BODIES: &[(&str, &str, Wanted)] = &[
    (
        "length, then coding",
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "coding, then length",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "two lengths",
        "Content-Length: 0\r\nContent-Length: 40\r\n\r\nINNER",
        Only(400),
    ),
    (
        "twice the same length",
        "Content-Length: 0\r\nContent-Length: 0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "a list of lengths",
        "Content-Length: 0, 0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "a length with a sign",
        "Content-Length: +0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "a negative length",
        "Content-Length: -1\r\n\r\nINNER",
        Only(400),
    ),
    (
        "a hexadecimal length",
        "Content-Length: 0x0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "a length with a space in it",
        "Content-Length: 0 0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "a length that is empty",
        "Content-Length: \r\n\r\nINNER",
        Only(400),
    ),
    (
        "a length beyond 64 bits",
        "Content-Length: 18446744073709551616\r\n\r\nINNER",
        Only(400),
    ),
    (
        "a space before a length's colon",
        "Content-Length : 40\r\n\r\nINNER",
        Only(400),
    ),
    (
        "a folded length",
        "Content-Length:\r\n 40\r\n\r\nINNER",
        Only(400),
    ),
    (
        "a coding before chunked",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "a coding after chunked",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "identity",
        "Transfer-Encoding: identity\r\n\r\nINNER",
        Only(400),
    ),
    (
        "an unknown coding",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "a quoted coding",
        "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "an empty coding",
        "Transfer-Encoding:\r\n\r\nINNER",
        Only(400),
    ),
    (
        "a coding with a parameter",
        "Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "a coding behind a vertical tab",
        "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "chunked twice",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "a second coding",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "a space before a coding's colon",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "a tab before a coding's colon",
        "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "a line with a coding that begins with a space",
        " Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "a bare LF behind a size",
        "Transfer-Encoding: chunked\r\n\r\n0\n\r\nINNER",
        Refusal,
    ),
    (
        "a bare LF behind an extension",
        "Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\nx\r\n0\r\n\r\nINNER",
        Refusal,
    ),
    (
        "a size with a prefix",
        "Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\nINNER",
        Refusal,
    ),
    (
        "a size with a sign",
        "Transfer-Encoding: chunked\r\n\r\n+1\r\nx\r\n0\r\n\r\nINNER",
        Refusal,
    ),
    (
        "a space before a size",
        "Transfer-Encoding: chunked\r\n\r\n 1\r\nx\r\n0\r\n\r\nINNER",
        Refusal,
    ),
    (
        "a space behind a size",
        "Transfer-Encoding: chunked\r\n\r\n1 \r\nx\r\n0\r\n\r\nINNER",
        Refusal,
    ),
    (
        "an underscore in a size",
        "Transfer-Encoding: chunked\r\n\r\n0_1\r\nx\r\n0\r\n\r\nINNER",
        Refusal,
    ),
    (
        "no size",
        "Transfer-Encoding: chunked\r\n\r\n\r\nINNER",
        Refusal,
    ),
    (
        "a size beyond 64 bits",
        "Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\nx\r\n0\r\n\r\nINNER",
        Refusal,
    ),
    (
        "a size that wraps to nothing",
        "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffe\r\nx\r\nINNER",
        Refusal,
    ),
    (
        "a chunk longer than its size",
        "Transfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\nINNER",
        Refusal,
    ),
    (
        "a bare LF behind a chunk",
        "Transfer-Encoding: chunked\r\n\r\n1\r\nx\n0\r\n\r\nINNER",
        Refusal,
    ),
    (
        "no end behind a chunk",
        "Transfer-Encoding: chunked\r\n\r\n1\r\nx0\r\n\r\nINNER",
        Refusal,
    ),
    (
        "a length in the trailer",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 40\r\n\r\nINNER",
        Refusal,
    ),
    (
        "a bare LF in the trailer",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nX: 1\n\r\nINNER",
        Refusal,
    ),
];

const LINES: &[(&str, &str, Wanted)] = &[
    (
        "two spaces",
        "GET  PATH HTTP/1.1\r\nHost: HOST\r\n\r\n",
        Only(400),
    ),
    (
        "a tab",
        "GET\tPATH HTTP/1.1\r\nHost: HOST\r\n\r\n",
        Only(400),
    ),
    (
        "a space before the method",
        " GET PATH HTTP/1.1\r\nHost: HOST\r\n\r\n",
        Only(400),
    ),
    (
        "a method that is no token",
        "G(T PATH HTTP/1.1\r\nHost: HOST\r\n\r\n",
        Only(400),
    ),
    (
        "a space in the target",
        "GET PATH x HTTP/1.1\r\nHost: HOST\r\n\r\n",
        Only(400),
    ),
    (
        "NUL in the target",
        "GET PATH\0 HTTP/1.1\r\nHost: HOST\r\n\r\n",
        Only(400),
    ),
    (
        "a bare LF in the target",
        "GET PATH\nx HTTP/1.1\r\nHost: HOST\r\n\r\n",
        Only(400),
    ),
    (
        "a bare LF behind the line",
        "GET PATH HTTP/1.1\nHost: HOST\r\n\r\n",
        Only(400),
    ),
    ("no version", "GET PATH\r\nHost: HOST\r\n\r\n", Only(400)),
    (
        "a version in lower case",
        "GET PATH http/1.1\r\nHost: HOST\r\n\r\n",
        Only(400),
    ),
    (
        "version 1.2",
        "GET PATH HTTP/1.2\r\nHost: HOST\r\n\r\n",
        Only(400),
    ),
    (
        "version 2.0",
        "GET PATH HTTP/2.0\r\nHost: HOST\r\n\r\n",
        Only(400),
    ),
    (
        "version 0.9",
        "GET PATH HTTP/0.9\r\nHost: HOST\r\n\r\n",
        Only(400),
    ),
    (
        "a version of many digits",
        "GET PATH HTTP/1.10\r\nHost: HOST\r\n\r\n",
        Only(400),
    ),
    (
        "a target without a slash",
        "GET xPATH HTTP/1.1\r\nHost: HOST\r\n\r\n",
        Only(400),
    ),
    (
        "a target of another host",
        "GET http://otherPATH HTTP/1.1\r\nHost: HOST\r\n\r\n",
        Only(400),
    ),
    (
        "a target with user information",
        "GET http://HOST@otherPATH HTTP/1.1\r\nHost: HOST\r\n\r\n",
        Only(400),
    ),
    (
        "a target's host, and a field without one",
        "GET http://HOSTPATH HTTP/1.1\r\n\r\n",
        Only(400),
    ),
    (
        "a coding in HTTP/1.0",
        "POST PATH HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nINNER",
        Only(400),
    ),
    (
        "half a preface of HTTP/2",
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        Only(400),
    ),
    (
        "a NUL before everything",
        "\0GET PATH HTTP/1.1\r\nHost: HOST\r\n\r\n",
        Only(400),
    ),
    (
        "a target of the same host",
        "GET http://HOSTPATH HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
        Answers(1),
    ),
    (
        "an empty line before it",
        "\r\nGET PATH HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
        Answers(1),
    ),
    (
        "two in one piece",
        "GET PATH HTTP/1.1\r\nHost: HOST\r\n\r\nGET PATH HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
        Answers(2),
    ),
    (
        "the second one of two",
        "GET PATH HTTP/1.1\r\nHost: HOST\r\n\r\nGET PATH HTTP/1.1\nHost: HOST\r\n\r\n",
        Answers(1),
    ),
];

#[test]
fn a_host_that_cannot_be_told_is_refused() {
    probe("GET PATH HTTP/1.1\r\n", HOSTS);
}

#[test]
fn fields_outside_the_grammar_are_refused() {
    probe("GET PATH HTTP/1.1\r\n", FIELDS);
}

#[test]
fn a_body_whose_length_two_readers_may_take_differently_is_refused() {
    probe("POST PATH HTTP/1.1\r\nHost: HOST\r\n", BODIES);
}

#[test]
fn a_request_line_outside_the_grammar_is_refused() {
    probe("", LINES);
}

/// Sends every probe to every route by every entrance.
fn probe(front: &str, table: &[(&str, &str, Wanted)]) {
    // One that is not refused, but waited for or kept, is to be seen soon.
    let target = Target::start("idle_timeout_seconds = 1\nheader_timeout_seconds = 5");
    let entrances = target.entrances("http/1.1");
    let mut wrong = Vec::new();
    for (name, probe, wanted) in table {
        for entrance in &entrances {
            for route in ROUTES {
                let text = format!("{front}{probe}").replace("INNER", INNER);
                let text = text.replace("PATH", route).replace("HOST", entrance.host);
                let judged = judge(&target, entrance, &text, *wanted);
                if let Err(seen) = judged {
                    wrong.push(format!(
                        "{name} ({}{route}): wanted {wanted:?}; {seen}",
                        entrance.host
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    target.assert_serves("all probes");
}

fn judge(target: &Target, entrance: &Entrance, text: &str, wanted: Wanted) -> Result<(), String> {
    target.passed_on();
    let answer = exchange(entrance.connect(), text.as_bytes());
    let answer = String::from_utf8_lossy(&answer);
    let statuses = answer.split("HTTP/1.1 ").skip(1);
    let statuses: Vec<u16> = statuses
        .filter_map(|one| one.get(..3)?.parse().ok())
        .collect();
    let passed_on = target.passed_on();
    let lines: Vec<&str> = passed_on.iter().map(Received::line).collect();
    let fine = match wanted {
        Only(status) => statuses == [status] && lines.is_empty(),
        Refusal => matches!(statuses[..], [400..=499]) && lines.is_empty(),
        Answers(count) => {
            let good = statuses.iter().filter(|status| **status < 400).count();
            good == count && (lines.is_empty() || lines.len() == count)
        }
    };
    match fine {
        true => Ok(()),
        false => Err(format!("answered {statuses:?}, passed on: {lines:?}")),
    }
}
