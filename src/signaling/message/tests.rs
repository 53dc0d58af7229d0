use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Message, parse};

fn delivered(text: &str, clients: u32) -> Option<(String, String)> {
    let Ok(Message::Publish(publish)) = parse(text) else {
        return None;
    };
    let mut out = Vec::new();
    publish.write(clients, &mut out);
    assert_eq!(out.len(), publish.len(clients));
    Some((
        publish.topic.to_string(),
        String::from_utf8(out).expect("pieces of a string"),
    ))
}

#[test]
fn a_publish_keeps_its_bytes_and_gets_clients() {
    let (topic, text) =
        delivered(r#"{"type":"publish", "topic":"a","x":[1.50, null]}"#, 12).expect("a publish");
    assert_eq!(topic, "a");
    assert_eq!(
        text,
        r#"{"type":"publish", "topic":"a","x":[1.50, null],"clients":12}"#
    );
}

#[test]
fn the_last_clients_member_is_the_one_that_is_replaced() {
    let text = r#"{"clients":{"a":[]},"type":"publish","cl\u0069ents" : 7 ,"topic":"a"}"#;
    let (_, text) = delivered(text, 0).expect("a publish");
    assert_eq!(
        text,
        r#"{"clients":{"a":[]},"type":"publish","cl\u0069ents" : 0 ,"topic":"a"}"#
    );
}

#[test]
fn the_last_member_of_a_name_counts() {
    let (topic, _) = delivered(
        r#"{"topic":"a","type":"ping","type":"publish","topic":"b"}"#,
        1,
    )
    .expect("a publish");
    assert_eq!(topic, "b");
    assert_eq!(parse(r#"{"type":"ping","type":5}"#), Ok(Message::Other));
}

#[test]
fn topics_that_are_no_strings_are_passed_over() {
    let message =
        parse(r#" {"topics":["a", 1, ["x"], {"y":"z"}, "", "\u0062", null],"type":"subscribe"} "#);
    assert_eq!(
        message,
        Ok(Message::Subscribe(vec!["a".into(), "b".into()]))
    );
    assert_eq!(
        parse(r#"{"type":"unsubscribe","topics":[ ]}"#),
        Ok(Message::Unsubscribe(vec![]))
    );
    assert_eq!(
        parse(r#"{"type":"subscribe","topics":"a"}"#),
        Ok(Message::Other)
    );
    assert_eq!(parse(r#"{"type":"subscribe"}"#), Ok(Message::Other));
}

#[test]
fn a_publish_without_a_usable_topic_asks_for_nothing() {
    for text in [
        r#"{"type":"publish"}"#,
        r#"{"type":"publish","topic":""}"#,
        r#"{"type":"publish","topic":3}"#,
        r#"{"type":"publish","topic":"\ud800"}"#,
        "null",
        "[]",
        "3",
        "{}",
    ] {
        assert_eq!(parse(text), Ok(Message::Other), "{text}");
    }
}

#[test]
fn nesting_is_accepted_exactly_as_deep_as_serde_json_does() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        for depth in [1, 63, 125, 126, 127, 128, 5000] {
            let inner = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            for text in [inner.clone(), format!(r#"{{"type":"ping","x":{inner}}}"#)] {
                assert_eq!(
                    parse(&text).is_ok(),
                    serde_json::from_str::<Value>(&text).is_ok(),
                    "{depth} of {open}"
                );
            }
        }
    }
}

/// Numbers beyond an f64 and halves of surrogate pairs are JSON to us and to `JSON.parse`, not to serde_json.
fn serde_is_stricter(text: &str) -> bool {
    match serde_json::from_str::<Value>(text) {
        Ok(_) => false,
        Err(error) => {
            let error = error.to_string();
            error.contains("out of range")
                || error.contains("surrogate")
                || error.contains("unexpected end of hex escape")
        }
    }
}

fn assert_agrees(text: &str) {
    let ours = parse(text).is_ok();
    let theirs = serde_json::from_str::<Value>(text).is_ok();
    assert!(
        ours == theirs || (ours && serde_is_stricter(text)),
        "ours {ours}, serde_json {theirs}: {text:?}"
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,20}".prop_map(Value::from),
        "[a-z\"\\\\\u{0}-\u{1f}]{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"\\\\]{0,6}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_serde_json_reads_is_delivered_with_only_clients_changed(
        mut object in prop::collection::btree_map("[a-z]{1,8}|clients", any_json(), 0..6),
        topic in ".{1,20}",
        clients: u32,
        pretty: bool,
    ) {
        object.insert("type".into(), "publish".into());
        object.insert("topic".into(), topic.clone().into());
        let value = Value::Object(object.into_iter().collect());
        let text = if pretty { format!("{value:#}") } else { value.to_string() };
        let (name, out) = delivered(&text, clients).expect("a publish");
        prop_assert_eq!(name, topic);
        // Through the text on both sides: serde_json rounds some numbers when it reads them.
        let mut value: Value = serde_json::from_str(&text).expect("JSON");
        value["clients"] = clients.into();
        prop_assert_eq!(serde_json::from_str::<Value>(&out).expect("still JSON"), value);
    }

    #[test]
    fn we_and_serde_json_agree_on_what_json_is(value in any_json(), cut: prop::sample::Index, insert in "[\\[\\]{}\",:0-9eE.+\\-\\\\u tfn\u{1}]{0,3}") {
        let text = value.to_string();
        let boundaries: Vec<usize> = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect();
        let at = *cut.get(&boundaries);
        assert_agrees(&text);
        assert_agrees(&text[..at]);
        assert_agrees(&format!("{}{insert}{}", &text[..at], &text[at..]));
        assert_agrees(&format!("{{\"k\":{}{insert}{}}}", &text[..at], &text[at..]));
    }

    #[test]
    fn any_text_is_read_without_panic(text in "\\PC{0,40}|[\\[\\]{}\",:0-9eE.+\\- tfnypeublishoc\\\\]{0,60}") {
        assert_agrees(&text);
    }
}
