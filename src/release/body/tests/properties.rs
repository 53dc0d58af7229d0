//! Arbitrary bodies, arbitrarily spoiled and cut, against the oracle.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{LIMITS, in_words, oracle, read_cut, read_whole};

fn whitespace() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just("\n"), 1 => Just("\r\n\t ")]
        .prop_map(str::to_owned)
}

/// A JSON string of `text`, some of its characters escaped in one of the ways there are.
fn quoted(text: String) -> impl Strategy<Value = String> {
    let styles = vec(0..8_u8, text.chars().count());
    (Just(text), styles).prop_map(|(text, styles)| {
        let mut json = String::from('"');
        for (character, style) in text.chars().zip(styles) {
            match (character, style) {
                ('\n', 0..4) => json.push_str("\\n"),
                ('\r', 0..4) => json.push_str("\\r"),
                ('/', 0..4) => json.push_str("\\/"),
                ('"' | '\\', 0..4) => json.extend(['\\', character]),
                ('\0'..' ' | '"' | '\\', _) | (_, 7) => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        json.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                _ => json.push(character),
            }
        }
        json.push('"');
        json
    })
}

fn base64() -> impl Strategy<Value = String> {
    let wrap = select(vec![usize::MAX, 76, 5]);
    (vec(any::<u8>(), 0..200), 0..4, wrap).prop_map(|(data, codec, wrap)| {
        let codec = match codec {
            0 => base64_simd::STANDARD,
            1 => base64_simd::STANDARD_NO_PAD,
            2 => base64_simd::URL_SAFE,
            _ => base64_simd::URL_SAFE_NO_PAD,
        };
        let text = codec.encode_to_string(data);
        text.as_bytes()
            .chunks(wrap)
            .map(String::from_utf8_lossy)
            .collect::<Vec<_>>()
            .join("\r\n")
    })
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-e]{1,2}(/[a-e]{1,2}){0,2}",
        1 => "[a-zé/.\u{301}]{0,12}",
        1 => any::<String>(),
    ]
}

/// Any value, as ignored members may hold.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        select(vec![
            "null", "true", "false", "0", "-0", "12", "-1.50", "1e5", "2E-3", "0.1e+7", "01", "1.",
            "-", "nul", "1e999"
        ])
        .prop_map(str::to_owned),
        any::<String>().prop_flat_map(quoted),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let member = (any::<String>().prop_flat_map(quoted), inner.clone())
            .prop_map(|(name, value)| format!("{name}:{value}"));
        prop_oneof![
            vec(inner, 0..3).prop_map(|elements| format!("[{}]", elements.join(","))),
            vec(member, 0..3).prop_map(|members| format!("{{{}}}", members.join(" ,"))),
        ]
    })
}

fn member(
    name: &'static str,
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    (quoted(name.to_owned()), whitespace(), value, whitespace())
        .prop_map(|(name, before, value, after)| format!("{name}{before}:{after}{value}{before}"))
}

/// An object of these members and perhaps some that nobody knows, in any order.
fn object(known: Vec<BoxedStrategy<String>>) -> impl Strategy<Value = String> {
    let unknown =
        select(vec!["size", "mode", "path ", ""]).prop_flat_map(|name| member(name, value()));
    let unknown = prop_oneof![3 => Just(Vec::new()), 1 => vec(unknown, 0..2)];
    (known, unknown, whitespace()).prop_flat_map(|(known, unknown, space)| {
        let members = Just([known, unknown].concat()).prop_shuffle();
        members
            .prop_map(move |members| format!("{{{space}{}}}", members.join(&format!(",{space}"))))
    })
}

fn body() -> impl Strategy<Value = String> {
    let path = member("path", path().prop_flat_map(quoted)).boxed();
    let content = member("content", base64().prop_flat_map(quoted)).boxed();
    let files = (vec(object(vec![path, content]), 0..4), whitespace())
        .prop_map(|(files, space)| format!("[{space}{}]", files.join(&format!("{space},"))));
    (object(vec![member("files", files).boxed()]), whitespace())
        .prop_map(|(document, space)| format!("{space}{document}{space}"))
}

/// One change to a body: replace `.1` bytes at `.0` by some that matter to JSON or base64.
fn change() -> impl Strategy<Value = (Index, usize, Vec<u8>)> {
    let bytes = prop_oneof![
        select(b"\"\\{}[]:,=+-_/ Aeu0\n\t\x00\x7f\x80\xff".to_vec()).prop_map(|byte| vec![byte]),
        vec(any::<u8>(), 0..3),
        Just(b"\\ud83d".to_vec()),
        Just("é".as_bytes().to_vec()),
    ];
    (any::<Index>(), 0..3_usize, bytes)
}

fn agrees(text: &[u8], lengths: &[usize]) -> Result<(), TestCaseError> {
    let whole = read_whole(text);
    prop_assert_eq!(
        in_words(&read_cut(text, &LIMITS, lengths)),
        in_words(&whole)
    );
    let Some(expected) = oracle::files(text) else {
        return Err(TestCaseError::reject("no verdict"));
    };
    let words = in_words(&whole);
    let actual = whole.ok().map(|(_, files)| {
        files
            .into_iter()
            .map(|(file, data)| (file.path.to_string(), data))
            .collect()
    });
    prop_assert_eq!(
        actual,
        expected,
        "{} for {}",
        words,
        String::from_utf8_lossy(text)
    );
    Ok(())
}

proptest! {
    // A failing case is printed, and added to the tables; no file of seeds in the source tree.
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_body_means_what_serde_json_says(text in body(), lengths in vec(1..40_usize, 1..8)) {
        agrees(text.as_bytes(), &lengths)?;
    }

    #[test]
    fn a_spoiled_body_is_refused_exactly_when_serde_json_refuses_it(
        text in body(),
        changes in vec(change(), 1..4),
        lengths in vec(1..40_usize, 1..8),
    ) {
        let mut text = text.into_bytes();
        for (place, removed, bytes) in changes {
            let start = place.index(text.len() + 1);
            let end = text.len().min(start + removed);
            text.splice(start..end, bytes);
        }
        agrees(&text, &lengths)?;
    }

    #[test]
    fn any_bytes_at_all_are_read_or_refused(text in vec(any::<u8>(), 0..60), lengths in vec(1..5_usize, 1..4)) {
        agrees(&text, &lengths)?;
    }
}
