//! Bodies that must be refused, and in which words; bodies that only look as if they should be.

use super::{LIMITS, Outcome, in_words, read_cut, read_whole};
use crate::release::body::error::{BodyError, Limit};
use crate::release::body::{Limits, json};

/// The message for a body of one file with this content.
fn content(json: &str) -> String {
    in_words(&read_whole(
        format!(r#"{{"files":[{{"path":"a","content":{json}}}]}}"#).as_bytes(),
    ))
}

fn data(json: &str) -> Vec<u8> {
    let body = format!(r#"{{"files":[{{"content":{json},"path":"a"}}]}}"#);
    let (_, mut files) =
        read_whole(body.as_bytes()).unwrap_or_else(|error| panic!("{json}: {error}"));
    files.remove(0).1
}

/// Bodies that are not JSON, why not, and at which offset.
const NOT_JSON: &[(&str, &str, u64)] = &[
    ("", "it ends in the middle", 0),
    ("{", "it ends in the middle", 1),
    (r#"{"files":[{"path":"a"#, "it ends in the middle", 20),
    ("\u{feff}{}", "expected a value", 0),
    (r#"{"files":[],}"#, "expected the name of a member", 12),
    (r#"{,"files":[]}"#, "expected the name of a member", 1),
    (
        r#"{"files":[],,"x":1}"#,
        "expected the name of a member",
        12,
    ),
    (r#"{"files"[]}"#, "expected `:`", 8),
    (r#"{"files":[] "x":1}"#, "expected `,` or `}`", 12),
    (r#"{"files":@}"#, "expected a value", 9),
    (r#"{"files":[,]}"#, "expected a value", 10),
    (r#"{"x":[1 2]}"#, "expected `,` or `]`", 8),
    (r#"{"x":[1,]}"#, "expected a value", 8),
    (r#"{"x":{"y":1,}}"#, "expected the name of a member", 12),
    (r#"{"x":{1:1}}"#, "expected the name of a member", 6),
    (r#"{"files":[]}x"#, "something follows the document", 12),
    ("{\"files\":[]}\0", "something follows the document", 12),
    (r#"{"x":01}"#, "expected `,` or `}`", 6),
    (r#"{"x":-01}"#, "expected `,` or `}`", 7),
    (r#"{"x":1.}"#, "expected a digit", 7),
    (r#"{"x":1e+}"#, "expected a digit", 8),
    (r#"{"x":-}"#, "expected a digit", 6),
    (r#"{"x":+1}"#, "expected a value", 5),
    (r#"{"x":.5}"#, "expected a value", 5),
    (r#"{"x":True}"#, "expected a value", 5),
    (r#"{"x":nul}"#, "expected `true`, `false` or `null`", 8),
    (
        "{\"x\":\"a\tb\"}",
        "a string holds a bare control character",
        7,
    ),
    (r#"{"x":"\x41"}"#, "a string holds an unknown escape", 7),
    (r#"{"x":"\u00g0"}"#, "a string holds an unknown escape", 10),
    (
        r#"{"x":"\ud83d!"}"#,
        "a string escapes half of a surrogate pair",
        12,
    ),
    (
        r#"{"x":"\ud83d\u0041"}"#,
        "a string escapes half of a surrogate pair",
        8,
    ),
    (
        r#"{"x":"\udd00"}"#,
        "a string escapes half of a surrogate pair",
        8,
    ),
];

#[test]
fn a_body_that_is_not_json_is_refused_with_its_place() {
    for (body, problem, offset) in NOT_JSON {
        let words = in_words(&read_whole(body.as_bytes()));
        assert!(
            words.starts_with(&format!("the body is not JSON: {problem} (")),
            "{body}: {words}"
        );
        assert!(
            words.contains(&format!("(line 1, offset {offset}")),
            "{body}: {words}"
        );
    }
    assert_eq!(
        in_words(&read_whole(b" {\r\n\"x\" :\n\n?}")),
        "the body is not JSON: expected a value (line 4, offset 11)"
    );
    assert_eq!(
        in_words(&read_whole(b"{\"x\":\"a\xc3\"}")),
        "the body is not JSON: a string is not UTF-8 (line 1, offset 6)"
    );
    assert_eq!(
        in_words(&read_whole(b"{\"files\":[{\"path\":\"\xed\xa0\x80\"}]}")),
        "the body is not JSON: a string is not UTF-8 (line 1, offset 19, file 0)"
    );
}

#[test]
fn a_body_of_another_shape_is_refused_by_the_member() {
    for (body, message) in [
        ("[]", "`body` must be an object (line 1, offset 0)"),
        ("{}", "`files` is missing (line 1, offset 2)"),
        (
            r#"{"files":null}"#,
            "`files` must be an array (line 1, offset 9)",
        ),
        (
            r#"{"files":[1]}"#,
            "`files[]` must be an object (line 1, offset 10, file 0)",
        ),
        (
            r#"{"files":[{"path":1}]}"#,
            "`path` must be a string (line 1, offset 18, file 0)",
        ),
        (
            r#"{"files":[{"path":"a","content":{}}]}"#,
            "`content` must be a string (line 1, offset 32, file 0 `a`)",
        ),
        (
            r#"{"files":[{"path":"a"}]}"#,
            "`content` is missing (line 1, offset 22, file 0 `a`)",
        ),
        (
            r#"{"files":[{"content":""}]}"#,
            "`path` is missing (line 1, offset 24, file 0)",
        ),
        (
            r#"{"files":[],"files":[]}"#,
            "the member `files` stands twice in one object (line 1, offset 19)",
        ),
        (
            r#"{"x":1,"\u0078":2}"#,
            "the member `x` stands twice in one object (line 1, offset 15)",
        ),
        (
            r#"{"files":[{"content":"","content":""}]}"#,
            "the member `content` stands twice in one object (line 1, offset 33, file 0)",
        ),
    ] {
        assert_eq!(in_words(&read_whole(body.as_bytes())), message, "{body:?}");
    }
}

#[test]
fn paths_that_no_store_could_hold_side_by_side_are_refused() {
    let body = |first: &str, second: &str| {
        let files = [first, second].map(|path| format!(r#"{{"content":"","path":"{path}"}}"#));
        in_words(&read_whole(
            format!(r#"{{"files":[{}]}}"#, files.join(",")).as_bytes(),
        ))
    };
    let contained = "`a` is a file here and also the directory of `a/b`";
    for (first, second, problem) in [
        ("a/b", "a/b", "the path `a/b` stands twice in this deploy"),
        (
            "\u{e9}",
            "e\u{301}",
            "the path `\u{e9}` stands twice in this deploy",
        ),
        ("a", "a/b", contained),
        ("a/b", "a", contained),
        (
            "a",
            "../x",
            r#"invalid file path "../x": a path must not contain a `..` segment"#,
        ),
    ] {
        let words = body(first, second);
        assert!(
            words.starts_with(&format!("{problem} (line 1, offset ")),
            "{words}"
        );
        assert!(words.ends_with(", file 1)"), "{words}");
    }
    for (first, second) in [
        ("a", "a-b"),
        ("a-b", "a"),
        ("a/b", "a/bc"),
        ("a.b", "a"),
        ("a", "b/a"),
    ] {
        assert!(
            body(first, second).starts_with("Summary"),
            "{first} {second}"
        );
    }
}

#[test]
fn content_that_is_not_base64_is_refused_with_its_file_and_place() {
    let start = 33;
    for (json, problem, place) in [
        (r#""QUJD*UJD""#, r#"unexpected byte '*'"#, 4),
        (r#""QUJD\u00e9""#, r#"unexpected byte 'Ã'"#, 4),
        (r#""QUJD\f""#, r#"unexpected byte '\u{c}'"#, 4),
        ("\"QUJD\nQUJD\"", r#"unexpected byte '\n'"#, 4),
        (r#""Q""#, "it ends within a byte", 2),
        (r#""QUJDQ""#, "it ends within a byte", 6),
        (r#""Q===""#, "the padding does not fit the length", 1),
        (r#""QQ=""#, "the padding does not fit the length", 4),
        (r#""QUI==""#, "the padding does not fit the length", 4),
        (r#""QUJD=""#, "the padding does not fit the length", 4),
        (r#""=""#, "the padding does not fit the length", 0),
        (r#""QQ==QQ==""#, "data follows the padding", 4),
        (r#""QQ=Q""#, "data follows the padding", 3),
        (
            r#""QR==""#,
            "the unused bits of its last character are not zero",
            5,
        ),
        (
            r#""QUJ""#,
            "the unused bits of its last character are not zero",
            4,
        ),
        (
            r#""+A-A""#,
            "it mixes the standard and the url-safe alphabet",
            2,
        ),
        (
            r#""A/AAAAAAA\u005f""#,
            "it mixes the standard and the url-safe alphabet",
            9,
        ),
    ] {
        let at = start + place;
        let expected =
            format!("`content` is not base64: {problem} (line 1, offset {at}, file 0 `a`)");
        assert_eq!(content(json), expected, "{json}");
    }
}

#[test]
fn every_usual_way_to_write_base64_is_read() {
    assert_eq!(data(r#""""#), b"");
    for json in [
        r#""+/+/QQ==""#,
        r#""+\/+\/QQ==""#,
        r#""-_-_QQ""#,
        r#""-_-_QQ==""#,
        r#""\u002b/+/QQ=\u003D""#,
        r#""+/+/\r\nQQ==\r\n""#,
        r#"" + /\t+/Q\nQ = = ""#,
    ] {
        assert_eq!(data(json), [0xfb, 0xff, 0xbf, 0x41], "{json}");
    }
}

#[test]
fn unknown_members_are_ignored_wherever_they_are() {
    let body = r#" {"a":{"files":[1],"files":2},"files":[{"x":[[],{"y":"\ud83d\ude00"}],"content":"QQ","path":"a"}],"z":1e999} "#;
    let (summary, files) = read_whole(body.as_bytes()).expect("a fine body");
    assert_eq!((summary.files, summary.content_bytes), (1, 1));
    assert_eq!(files[0].1, b"A");
    let (summary, _) = read_whole(b"{\"files\":[]}\n").expect("nothing to deploy");
    assert_eq!(summary.files, 0);
}

fn limit(outcome: Outcome) -> Option<Limit> {
    match outcome {
        Err(BodyError::Refused(refusal)) => refusal.limit(),
        _ => None,
    }
}

#[test]
fn each_limit_is_named_when_it_is_exceeded_and_not_before() {
    let body =
        r#"{"files":[{"path":"a","content":"QUJD"},{"path":"b","content":"QUJDRA"}]}"#.as_bytes();
    let exact = Limits {
        body_bytes: body.len() as u64,
        files: 2,
        file_bytes: 4,
        path_bytes: 1,
        within: Vec::new(),
    };
    assert!(read_cut(body, &exact, &[7]).is_ok());
    let read = |limits: Limits| limit(read_cut(body, &limits, &[7]));
    assert_eq!(
        read(Limits {
            body_bytes: 72,
            ..exact.clone()
        }),
        Some(Limit::Body(72))
    );
    assert_eq!(
        read(Limits {
            files: 1,
            ..exact.clone()
        }),
        Some(Limit::Files(1))
    );
    assert_eq!(
        read(Limits {
            file_bytes: 3,
            ..exact.clone()
        }),
        Some(Limit::File(3))
    );
    let long_path = format!(r#"{{"files":[{{"path":"{}"}}]}}"#, "a".repeat(5));
    assert_eq!(
        limit(read_cut(long_path.as_bytes(), &exact, &[7])),
        Some(Limit::Path(4))
    );

    let nested = |depth: usize| {
        format!(
            r#"{{"files":[],"x":{}{}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    assert!(read_whole(nested(json::DEPTH - 1).as_bytes()).is_ok());
    assert_eq!(
        limit(read_whole(nested(json::DEPTH).as_bytes())),
        Some(Limit::Depth(json::DEPTH))
    );
    let members = |count: usize| {
        let members: Vec<_> = (0..count)
            .map(|number| format!(r#""{number}":0"#))
            .collect();
        format!(r#"{{"files":[],{}}}"#, members.join(","))
    };
    assert!(read_whole(members(63).as_bytes()).is_ok());
    assert_eq!(
        limit(read_whole(members(64).as_bytes())),
        Some(Limit::Members(64))
    );
    let name = |length: usize| format!(r#"{{"files":[],"{}":0}}"#, "é".repeat(length));
    assert!(read_whole(name(128).as_bytes()).is_ok());
    assert_eq!(
        limit(read_whole(name(129).as_bytes())),
        Some(Limit::MemberName(256))
    );
    assert_eq!(limit(read_cut(b"{}", &LIMITS, &[1])), None);
}
