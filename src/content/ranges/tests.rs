use proptest::prelude::*;

use super::*;

fn one(range: Range<u64>) -> Selection {
    Selection::One(range)
}

#[test]
fn single_ranges_are_closed_open_or_suffix() {
    assert_eq!(select("bytes=0-0", 10, 9), one(0..1));
    assert_eq!(select("bytes=2-5", 10, 9), one(2..6));
    assert_eq!(select("bytes=2-", 10, 9), one(2..10));
    assert_eq!(select("bytes=-3", 10, 9), one(7..10));
    assert_eq!(select("bytes=-30", 10, 9), one(0..10));
    assert_eq!(select("bytes=2-99999999999999999999999", 10, 9), one(2..10));
    assert_eq!(select("BYTES = 2-3 ".trim(), 10, 9), one(2..4));
}

#[test]
fn what_is_not_a_byte_range_is_ignored() {
    for field in [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "items=0-1",
        "bytes=5-2",
        "bytes=a-b",
        "bytes=+1-2",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=0-1,x",
    ] {
        assert_eq!(select(field, 10, 9), Selection::Whole, "{field}");
    }
}

#[test]
fn ranges_behind_the_end_are_refused_only_when_none_is_left() {
    assert_eq!(select("bytes=10-", 10, 9), Selection::Refused);
    assert_eq!(select("bytes=-0", 10, 9), Selection::Refused);
    assert_eq!(select("bytes=-5", 0, 9), Selection::Refused);
    assert_eq!(select("bytes=0-1,10-12", 10, 9), one(0..2));
}

#[test]
fn several_ranges_keep_their_order_and_touching_ones_stay_apart() {
    assert_eq!(
        select("bytes=6-7, 0-1,,2-3", 10, 9),
        Selection::Many(vec![6..8, 0..2, 2..4])
    );
}

#[test]
fn overlapping_and_too_many_ranges_are_refused() {
    assert_eq!(select("bytes=0-5,3-8", 10, 9), Selection::Refused);
    assert_eq!(select("bytes=0-0,0-0", 10, 9), Selection::Refused);
    assert_eq!(select("bytes=0-0,2-2,4-4", 10, 2), Selection::Refused);
}

#[test]
fn ranges_that_follow_closely_are_one_read() {
    let far = 10 + GAP_BYTES;
    let ranges = [0..10, far..far + 5, 2 * far + 6..2 * far + 7, 0..0];
    let spans: Vec<_> = runs(&ranges[..3])
        .into_iter()
        .map(|run| (run.span, run.ranges))
        .collect();
    assert_eq!(spans, [(0..far + 5, 2), (2 * far + 6..2 * far + 7, 1)]);
}

fn disjoint() -> impl Strategy<Value = (u64, Vec<Range<u64>>)> {
    let steps = proptest::collection::vec((0u64..300_000, 1u64..5_000), 2..40);
    (steps, any::<u64>()).prop_map(|(steps, shuffle)| {
        let mut at = 0;
        let mut ranges = Vec::new();
        for (gap, length) in steps {
            ranges.push(at + gap..at + gap + length);
            at += gap + length;
        }
        if shuffle % 3 == 0 {
            let turn = usize::try_from(shuffle % 7).unwrap().min(ranges.len());
            ranges.rotate_left(turn);
        }
        (at, ranges)
    })
}

proptest! {
    #[test]
    fn any_field_is_answered_within_the_content(field in "(bytes=)?[-0-9, a]{0,40}", size in 0u64..200) {
        match select(&field, size, 10) {
            Selection::Whole | Selection::Refused => {}
            Selection::One(range) => prop_assert!(range.start < range.end && range.end <= size),
            Selection::Many(ranges) => {
                prop_assert!(ranges.len() >= 2);
                prop_assert!(ranges.iter().all(|range| range.start < range.end && range.end <= size));
                prop_assert!(ranges.iter().map(|range| range.end - range.start).sum::<u64>() <= size);
            }
        }
    }

    #[test]
    fn what_was_asked_for_is_what_is_selected((size, ranges) in disjoint()) {
        let list: Vec<String> = ranges.iter().map(|range| format!("{}-{}", range.start, range.end - 1)).collect();
        prop_assert_eq!(select(&format!("bytes={}", list.join(", ")), size, 100), Selection::Many(ranges));
    }

    #[test]
    fn the_length_is_that_of_the_parts((size, ranges) in disjoint()) {
        let multipart = Multipart::new(&[7; 16], "text/plain", size, ranges);
        let mut text = String::new();
        for (index, range) in multipart.ranges.iter().enumerate() {
            text += &multipart.head(index, range);
            text.extend((range.start..range.end).map(|_| 'x'));
        }
        text += &multipart.tail();
        prop_assert_eq!(multipart.length(), text.len() as u64);
        prop_assert!(text.starts_with("--0707"));
    }

    #[test]
    fn runs_hold_every_range_once_and_in_order((_, ranges) in disjoint()) {
        let mut left = ranges.as_slice();
        for run in runs(&ranges) {
            let (inside, rest) = left.split_at(run.ranges);
            prop_assert_eq!(inside.first().map(|range| range.start), Some(run.span.start));
            prop_assert_eq!(inside.last().map(|range| range.end), Some(run.span.end));
            prop_assert!(inside.windows(2).all(|pair| pair[0].end <= pair[1].start));
            left = rest;
        }
        prop_assert!(left.is_empty());
    }
}
