//! Heads of HTTP/1.1 that two readers may take differently: refused, once, and nothing of them reaches a server behind the
//! proxy.

use crate::harness::probe_http1::Wanted::{self, Answers, Only};
use crate::harness::probe_http1::probe;

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
fn a_request_line_outside_the_grammar_is_refused() {
    probe("", LINES);
}
