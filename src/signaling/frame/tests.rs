use proptest::prelude::*;

use super::*;

fn client_frame(first: u8, length: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    frame.extend_from_slice(length);
    frame.extend_from_slice(&[1, 2, 3, 4]);
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn every_illegal_header_is_named() {
    for (bytes, violation) in [
        (vec![0xC1, 0x80], Violation::ReservedBits),
        (vec![0xA1, 0x80], Violation::ReservedBits),
        (vec![0x91, 0x80], Violation::ReservedBits),
        (vec![0x83, 0x80], Violation::Opcode),
        (vec![0x8B, 0x80], Violation::Opcode),
        (vec![0x81, 0x05], Violation::NotMasked),
        (vec![0x09, 0x80], Violation::Control),
        (vec![0x89, 0xFE], Violation::Control),
        (client_frame(0x81, &[0xFE, 0, 125], &[]), Violation::Length),
        (
            client_frame(0x81, &[0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], &[]),
            Violation::Length,
        ),
        (
            client_frame(0x81, &[0xFF, 0x80, 0, 0, 0, 0, 1, 0, 0], &[]),
            Violation::Length,
        ),
    ] {
        assert_eq!(header(&bytes), Err(violation), "{bytes:02x?}");
    }
}

#[test]
fn a_close_frame_is_answered_by_its_code_or_by_what_is_wrong_with_it() {
    assert_eq!(close_answer(&[]), Ok(1000));
    assert_eq!(close_answer(&[3]), Err(1002));
    for good in [1000, 1001, 1003, 1007, 1011, 1012, 1014, 3000, 4999] {
        assert_eq!(close_answer(&u16::to_be_bytes(good)), Ok(good));
    }
    for bad in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        assert_eq!(close_answer(&u16::to_be_bytes(bad)), Err(1002), "{bad}");
    }
    assert_eq!(close_answer(b"\x03\xe8\xff"), Err(1007));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_header_is_read_whole_or_not_at_all(length in prop_oneof![0..200u64, 65_530..65_540u64, any::<u32>().prop_map(u64::from)], fin: bool, mask: [u8; 4]) {
        let mut bytes = vec![if fin { 0x82 } else { 0x02 }];
        match length {
            0..126 => bytes.push(0x80 | u8::try_from(length).unwrap()),
            126..0x1_0000 => {
                bytes.push(0xFE);
                bytes.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => { bytes.push(0xFF); bytes.extend_from_slice(&length.to_be_bytes()); }
        }
        bytes.extend_from_slice(&mask);
        for cut in 0..bytes.len() {
            prop_assert_eq!(header(&bytes[..cut]), Ok(None));
        }
        let wanted = Header { fin, opcode: Opcode::Binary, mask, size: bytes.len(), payload: length };
        bytes.push(0);
        prop_assert_eq!(header(&bytes), Ok(Some(wanted)));
    }

    #[test]
    fn masking_twice_changes_nothing_and_once_is_the_rfcs_octet_rule(payload: Vec<u8>, mask: [u8; 4]) {
        let mut bytes = payload.clone();
        unmask(&mut bytes, mask);
        let octets: Vec<u8> = payload.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]).collect();
        prop_assert_eq!(&bytes, &octets);
        unmask(&mut bytes, mask);
        prop_assert_eq!(bytes, payload);
    }

    #[test]
    fn the_end_of_a_half_written_frame_is_found(sizes in prop::collection::vec(prop_oneof![0..300usize, Just(70_000)], 1..6), at: prop::sample::Index) {
        let mut batch = Vec::new();
        let mut ends = vec![0];
        for size in sizes {
            batch.extend(encode(Opcode::Text, &vec![7; size]));
            ends.push(batch.len());
        }
        let at = at.index(batch.len() + 1);
        let wanted = ends.into_iter().find(|end| *end >= at);
        prop_assert_eq!(Some(end_of_frame(&batch, at)), wanted);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>, at: usize) {
        // What they say of such bytes is free.
        let _any = header(&bytes);
        end_of_frame(&bytes, at % (bytes.len() + 1));
        let _any = close_answer(&bytes);
    }
}
