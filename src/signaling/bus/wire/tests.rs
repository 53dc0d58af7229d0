use proptest::prelude::*;

use super::*;

const NODE: NodeId = [7; 16];

fn borrowed(counts: &[(String, u32)]) -> Vec<(&str, u32)> {
    counts.iter().map(|(name, n)| (name.as_str(), *n)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..7u8) {
        let mut likely = head(kind, NODE, 0);
        likely.extend_from_slice(&bytes);
        read(&bytes);
        read(&likely);
    }

    #[test]
    fn a_state_comes_back_whole_in_parts_that_nats_takes(counts in prop::collection::vec(("\\PC{0,60}", 1..u32::MAX), 0..800)) {
        let parts = state(NODE, borrowed(&counts).into_iter());
        let mut back = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            prop_assert!(part.len() < 2 * COUNTS_BYTES);
            let Some(Envelope { body: Body::State { first, last, counts }, .. }) = read(part) else { panic!("a state") };
            prop_assert_eq!((first, last), (at == 0, at + 1 == parts.len()));
            back.extend(counts);
        }
        prop_assert_eq!(back, borrowed(&counts));
    }
}

#[test]
fn envelopes_come_back_as_they_went() {
    let mut bytes = publish(NODE, -5, 2, |bytes| bytes.extend_from_slice(b"{}"));
    number(&mut bytes, 1 << 40);
    let body = Body::Publish {
        sent: -5,
        text: "{}",
    };
    let envelope = Envelope {
        node: NODE,
        number: 1 << 40,
        body,
    };
    assert_eq!(read(&bytes), Some(envelope));
    for (bytes, body) in [
        (alive(NODE), Body::Alive),
        (ask(NODE), Body::Ask),
        (bye(NODE), Body::Bye),
    ] {
        assert_eq!(read(&bytes).expect("an envelope").body, body);
    }
    let counts = [("a.>", 3), ("", 0)];
    let parts = changes(NODE, counts.into_iter());
    let read = read(&parts[0]).expect("an envelope");
    assert_eq!(read.body, Body::Counts(counts.to_vec()));
}

#[test]
fn another_version_is_not_read() {
    let mut bytes = alive(NODE);
    bytes[0] = 2;
    assert_eq!(read(&bytes), None);
}
