use proptest::prelude::*;

use super::*;

/// What is left of `text` when it comes in pieces of `size` bytes.
fn followed(text: &str, size: usize) -> (Vec<u8>, Framing) {
    let mut framing = Framing::default();
    let mut bytes = text.as_bytes().to_vec();
    for piece in bytes.chunks_mut(size) {
        framing.follow(piece);
    }
    (bytes, framing)
}

fn passes(text: &str) -> bool {
    followed(text, text.len()).0 == text.as_bytes()
}

const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\n";

#[test]
fn what_the_grammar_allows_passes_unchanged() {
    for rest in [
        "\r\n",
        "Content-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "Content-Length: 5\r\n\r\na\nb\nc\r\nGET /x HTTP/1.1\r\nHost: b\r\n\r\n",
        "content-length:\t5 \r\n\r\nabcde",
        "Transfer-Encoding: Chunked\r\n\r\n5\r\na\nb\nc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0A;name=\"v\"\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n",
        "Content-Type: a\r\nTE: trailers\r\nTrailer: X-Sum\r\n\r\n",
    ] {
        let text = format!("\r\n{HEAD}{rest}");
        for size in [1, 2, 3, 7, text.len()] {
            let (left, framing) = followed(&text, size);
            assert_eq!(String::from_utf8_lossy(&left), text, "in pieces of {size}");
            assert!(!framing.in_head(), "{text:?}");
        }
    }
}

#[test]
fn what_two_readers_may_take_differently_is_spoiled() {
    for rest in [
        "X: 1\n\r\n",
        "X: 1\r\n\n",
        " folded\r\n\r\n",
        "\tfolded\r\n\r\n",
        ": nameless\r\n\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "Content-Length: 5, 5\r\n\r\n",
        "Content-Length: +5\r\n\r\n",
        "Content-Length: 0x5\r\n\r\n",
        "Content-Length: 5 5\r\n\r\n",
        "Content-Length:\r\n\r\n",
        "Content-Length: 99999999999999999999\r\n\r\n",
        "Content-Length\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding: chunked, chunked\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n",
        "Transfer-Encoding: identity\r\n\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\nabcde\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0x5\r\nabcde\r\n",
        "Transfer-Encoding: chunked\r\n\r\n 5\r\nabcde\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5 \r\nabcde\r\n",
        "Transfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n",
        "Transfer-Encoding: chunked\r\n\r\n\r\nabcde\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5;a\nabcde\r\n",
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        "Transfer-Encoding: chunked\r\n\r\n00000000000000000005\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nX: 1\n\r\n",
    ] {
        let text = format!("{HEAD}{rest}");
        let (left, framing) = followed(&text, text.len());
        assert_ne!(left, text.as_bytes(), "{text:?}");
        assert_eq!(framing.at, At::Refused, "{text:?}");
        let at = left.iter().position(|byte| *byte == POISON);
        let at = at.expect("a poisoned byte");
        assert!(text.as_bytes().get(at) == Some(&b'\n'), "{text:?} at {at}");
    }
    assert!(!passes("GET / HTTP/1.1\nHost: a\n\n"));
}

#[test]
fn a_second_request_is_looked_at_like_the_first() {
    let second = "GET / HTTP/1.1\r\nX: 1\nY: 2\r\n\r\n";
    for first in [
        "GET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\na\nb",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\nb\r\n0\r\n\r\n",
    ] {
        let (left, _) = followed(&format!("{first}{second}"), 4096);
        let kept = left.strip_prefix(first.as_bytes());
        let kept = kept.expect("the first one passes unchanged");
        assert!(kept.contains(&POISON), "{first:?}");
    }
}

#[test]
fn http2_is_not_looked_at() {
    assert!(passes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\n\n\n"));
    assert!(followed("PRI * HTTP/2.0\r\n", 1).1.is_http2());
    let mut bytes = *b"\n\n";
    Framing::none().follow(&mut bytes);
    assert_eq!(&bytes, b"\n\n");
}

#[test]
fn a_long_line_costs_little_memory() {
    let text = format!("GET /{} HTTP/1.1\r\nX: {0}\r\n\r\n", "x".repeat(60_000));
    let (left, framing) = followed(&text, 100);
    assert_eq!(left, text.as_bytes());
    assert!(framing.kept.capacity() <= 2 * KEPT_MOST);
    let padded = format!("{HEAD}Content-Length:{}5\r\n\r\n", " ".repeat(300));
    assert_eq!(followed(&padded, 1).1.at, At::Refused);
    assert_eq!(followed(&padded, padded.len()).1.at, At::Refused);
}

#[test]
fn between_requests_is_where_the_last_one_is_complete_with_its_body() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = format!("{HEAD}Content-Length: 3\r\n\r\n");
    let chunked = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    for (text, between) in [
        (get.to_owned(), true),
        (format!("{get}\r\n"), true),
        (format!("{get}G"), false),
        (format!("{get}\r"), false),
        (format!("{get}GET / HTTP/1.1\r\n"), false),
        (post.clone(), false),
        (format!("{post}ab"), false),
        (format!("{post}abc"), true),
        (chunked.clone(), false),
        (format!("{chunked}0\r\n"), false),
        (format!("{chunked}0\r\n\r\n"), true),
        (format!("{get}X\n"), false),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), false),
    ] {
        for size in [1, text.len()] {
            assert_eq!(
                followed(&text, size).1.is_between(),
                between,
                "{text:?} by {size}"
            );
        }
    }
}

proptest! {
    #[test]
    fn how_bytes_are_cut_into_pieces_changes_nothing(
        lines in proptest::collection::vec(
            prop_oneof![
                Just("POST / HTTP/1.1\r\n"), Just("\r\n"), Just("\n"), Just("\r"), Just("0\r\n"), Just("3\r\n"),
                Just("abc"), Just("Content-Length: 3\r\n"), Just("Transfer-Encoding: chunked\r\n"), Just(" x\r\n"),
                Just("Host: a\r\n"), Just("3;x\n"), Just("PRI * HTTP/2.0\r\n"),
            ],
            0..12,
        ),
        size in 1_usize..9,
    ) {
        let text = lines.concat();
        let (whole, one) = followed(&text, text.len().max(1));
        let (pieces, other) = followed(&text, size);
        prop_assert_eq!(whole, pieces);
        prop_assert_eq!(one.at, other.at);
        prop_assert_eq!(one.in_head(), other.in_head());
    }
}
