//! Bodies of HTTP/1.1 whose length two readers may take differently: refused, once, and nothing of them reaches a server
//! behind the proxy.

use crate::harness::probe_http1::Wanted::{self, Only, Refusal};
use crate::harness::probe_http1::probe;

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

#[test]
fn a_body_whose_length_two_readers_may_take_differently_is_refused() {
    probe("POST PATH HTTP/1.1\r\nHost: HOST\r\n", BODIES);
}
