//! Any text as a signaling message: it must be JSON exactly when serde_json says so, and a publish must leave as it came
//! but for `clients`. Run like `deploy_body`, with `--bin signaling_message`; a crash belongs into
//! `src/signaling/message/tests.rs`.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value;

use signaling::message::{Message, parse};

#[path = "../../src/signaling"]
mod signaling {
    pub mod json;
    pub mod message;
}

fuzz_target!(|text: &str| -> Corpus {
    let value: Result<Value, _> = serde_json::from_str(text);
    let message = parse(text);
    match (&value, &message) {
        (Ok(_), Err(error)) => panic!("refused ({error}), though serde_json reads it"),
        (Err(error), Ok(_)) => assert!(serde_is_stricter(&error.to_string()), "read, though serde_json says {error}"),
        _ => {}
    }
    let (Ok(mut value), Ok(Message::Publish(publish))) = (value, message) else {
        return Corpus::Keep;
    };
    assert_eq!(value["topic"], *publish.topic);
    let mut delivered = Vec::new();
    publish.write(7, &mut delivered);
    assert_eq!(delivered.len(), publish.len(7));
    value["clients"] = 7.into();
    assert_eq!(serde_json::from_slice::<Value>(&delivered).expect("still JSON"), value);
    Corpus::Keep
});

/// Numbers beyond an f64 and halves of surrogate pairs are JSON to us and to `JSON.parse`.
fn serde_is_stricter(error: &str) -> bool {
    ["out of range", "surrogate", "unexpected end of hex escape"].iter().any(|cause| error.contains(cause))
}
