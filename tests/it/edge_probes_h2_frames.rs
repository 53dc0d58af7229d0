//! Frames outside of what RFC 9113 §4 to §6 allows end a stream or the connection.

use crate::harness::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PING, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, get, request,
};
use crate::harness::probe_http2::Wanted::{self, Either, Goaway, Status};
use crate::harness::probe_http2::{
    FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, Frames, PROTOCOL_ERROR, live, probe,
};

const FRAMES: &[(&str, Frames, Wanted)] = &[
    (
        "an unknown frame is passed over",
        |host| [frame(0xbe, 0, 0, b"x"), request(1, &live(host))].concat(),
        Status(200),
    ),
    (
        "DATA on stream 0",
        |_| frame(DATA, 0, 0, b"x"),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "DATA on a stream that was never opened",
        |_| frame(DATA, 0, 1, b"x"),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "HEADERS on stream 0",
        |host| request(0, &live(host)),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "HEADERS on an even stream",
        |host| request(2, &live(host)),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "a stream below the last one",
        |host| [request(3, &live(host)), request(1, &live(host))].concat(),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "padding longer than its frame",
        |host| {
            frame(
                HEADERS,
                END_STREAM | END_HEADERS | PADDED,
                1,
                &[&[255], &live(host)[..]].concat(),
            )
        },
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "a header block that is none",
        |_| request(1, &[0xff; 20]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "an index that is in no table",
        |_| request(1, &[0xfe]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "a table larger than allowed",
        |_| request(1, &[0x3f, 0xff, 0xff, 0x7f]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "CONTINUATION without HEADERS",
        |host| frame(CONTINUATION, END_HEADERS, 1, &live(host)),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "PING within a header block",
        |host| {
            [
                frame(HEADERS, END_STREAM, 1, &live(host)),
                frame(PING, 0, 0, &[0; 8]),
            ]
            .concat()
        },
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "CONTINUATION on another stream",
        |host| {
            [
                frame(HEADERS, END_STREAM, 1, &live(host)),
                frame(CONTINUATION, END_HEADERS, 3, b""),
            ]
            .concat()
        },
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "a frame that is too large",
        |_| frame(DATA, 0, 1, &[0; 16_385]),
        Goaway(FRAME_SIZE_ERROR),
    ),
    (
        "SETTINGS on a stream",
        |_| frame(SETTINGS, 0, 1, b""),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "SETTINGS of a length that cannot be",
        |_| frame(SETTINGS, 0, 0, &[0; 5]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "an acknowledgement with settings",
        |_| frame(SETTINGS, ACK, 0, &[0; 6]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "a window larger than there is",
        |_| frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "a frame size that is too small",
        |_| frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "push that is neither on nor off",
        |_| frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "PING on a stream",
        |_| frame(PING, 0, 1, &[0; 8]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "PING of a length that cannot be",
        |_| frame(PING, 0, 0, &[0; 7]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "RST_STREAM on stream 0",
        |_| frame(RST_STREAM, 0, 0, &[0; 4]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "RST_STREAM on a stream that was never opened",
        |_| frame(RST_STREAM, 0, 1, &[0; 4]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "RST_STREAM of a length that cannot be",
        |host| {
            [
                frame(HEADERS, END_HEADERS, 1, &live(host)),
                frame(RST_STREAM, 0, 1, &[0; 3]),
            ]
            .concat()
        },
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "WINDOW_UPDATE by nothing",
        |_| frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "WINDOW_UPDATE beyond all windows",
        |_| frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        Goaway(FLOW_CONTROL_ERROR),
    ),
    (
        "WINDOW_UPDATE of a length that cannot be",
        |_| frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "a promise from a client",
        |host| {
            [
                request(1, &live(host)),
                frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
            ]
            .concat()
        },
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "a stream that depends on itself",
        |_| frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]),
        Either(PROTOCOL_ERROR),
    ),
    (
        "more DATA than was announced",
        |host| {
            [
                frame(
                    HEADERS,
                    END_HEADERS,
                    1,
                    &get(host, "/deploy", &[("content-length", "1")]),
                ),
                frame(DATA, END_STREAM, 1, b"xx"),
            ]
            .concat()
        },
        Either(PROTOCOL_ERROR),
    ),
    (
        "DATA behind the end of its stream",
        |host| [request(1, &live(host)), frame(DATA, 0, 1, b"x")].concat(),
        Goaway(PROTOCOL_ERROR),
    ),
    (
        "150 cookies",
        |host| request(1, &get(host, "/health/live", &[("cookie", "a=b"); 150])),
        Status(200),
    ),
    (
        "150 fields",
        |host| request(1, &get(host, "/health/live", &[("x", "1"); 150])),
        Status(431),
    ),
];

#[test]
fn frames_outside_the_grammar_end_the_connection() {
    probe("", FRAMES);
}
