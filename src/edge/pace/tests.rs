use super::*;

fn pace(http2: bool) -> (Arc<Pace>, Instant) {
    let begun = Instant::now();
    let http = config::Http {
        header_timeout_seconds: 10,
        idle_timeout_seconds: 75,
        write_timeout_seconds: 10,
        min_bytes_per_second: 100,
        max_resets_per_second: 3,
        ..config::Http::default()
    };
    (Arc::new(Pace::new(&http, begun, http2)), begun)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn data(bytes: u64) -> Seen {
    Seen {
        data_frames: 1,
        data: bytes,
        fields: 0,
        window: 0,
    }
}

#[test]
fn the_first_head_has_its_time_from_the_beginning() {
    let (pace, begun) = pace(false);
    let mut watch = pace.watch();
    assert_eq!(pace.look(begun, &mut watch), Look::Again(seconds(10)));
    // Neither a part of it nor an empty line before it gives more.
    for in_head in [true, false] {
        pace.received(in_head);
        let late = pace.look(begun + seconds(10), &mut watch);
        assert!(matches!(late, Look::Cut(_)), "{late:?}");
    }
}

#[test]
fn silence_after_an_answer_has_more_time_than_a_head_that_has_begun() {
    let (pace, begun) = pace(false);
    let mut watch = pace.watch();
    pace.received(false);
    let turn = pace.begin();
    assert_eq!(
        pace.look(begun + seconds(500), &mut watch),
        Look::Again(seconds(10)),
        "answered"
    );
    drop(turn);
    // The clock of the answer's end is the real one.
    assert_eq!(
        pace.look(begun + seconds(20), &mut watch),
        Look::Again(seconds(10))
    );
    assert_eq!(pace.look(begun + seconds(80), &mut watch), Look::Close);
    pace.sent(1000);
    assert_eq!(
        pace.look(begun + seconds(80), &mut watch),
        Look::Again(seconds(10)),
        "the rest of the answer is still being taken"
    );
    pace.received(true);
    let late = pace.look(begun + seconds(20), &mut watch);
    assert!(matches!(late, Look::Cut(_)), "{late:?}");
}

#[test]
fn the_end_of_an_answer_that_http2_flow_control_holds_back_is_waited_for_no_longer_than_the_rest() {
    let (pace, begun) = pace(true);
    let mut watch = pace.watch();
    let turn = pace.begin();
    drop(pace.take_opened());
    let piece = turn.piece(Bytes::from_static(b"the end"));
    assert_eq!(pace.look(begun, &mut watch), Look::Again(seconds(10)));
    drop(turn);
    assert_eq!(pace.look(begun, &mut watch), Look::Again(seconds(2)));
    pace.sent_frames(data(1000));
    let moved = pace.look(begun + seconds(9), &mut watch);
    assert_eq!(moved, Look::Again(seconds(2)), "it moves");
    pace.sent_frames(data(999));
    let stalled = pace.look(begun + seconds(19), &mut watch);
    assert!(matches!(stalled, Look::Cut(_)), "{stalled:?}");
    drop(piece);
    assert_eq!(
        pace.look(begun + seconds(19), &mut watch),
        Look::Again(seconds(10)),
        "it is out, and silence begins"
    );
}

#[test]
fn streams_wait_for_each_other_where_the_connection_is_narrow_and_moves() {
    let (pace, _) = pace(true);
    assert!(!pace.is_narrow(1_000_000), "there is room");
    pace.sent_frames(data(65_000));
    assert!(pace.is_narrow(200), "its window is used up");
    assert!(!pace.is_narrow(199), "and it does not move");
    let opened = Seen {
        window: 1000,
        ..Seen::default()
    };
    pace.received_frames(13, opened).expect("no flood");
    assert!(!pace.is_narrow(200));
    pace.waits(true);
    assert!(pace.is_narrow(0), "the socket is full");
}

#[test]
fn requests_that_are_taken_back_in_masses_end_the_connection() {
    let (pace, _) = pace(true);
    for _ in 0..100 {
        let mut answered = pace.begin();
        answered.complete();
        drop(answered);
    }
    assert!(pace.received_frames(1, Seen::default()).is_ok());
    // Perhaps a second ends in between.
    (0..7).for_each(|_| drop(pace.begin()));
    assert!(pace.received_frames(1, Seen::default()).is_err());
}

#[test]
fn frames_that_carry_nothing_end_the_connection() {
    let (pings, _) = pace(true);
    let sent: Result<Vec<()>, _> = (0..10_000)
        .map(|_| {
            pings.sent_frames(Seen::default());
            pings.received_frames(1000, Seen::default())
        })
        .collect();
    assert!(sent.is_err());
    let (upload, _) = pace(true);
    for _ in 0..100_000 {
        upload
            .received_frames(1009, data(1000))
            .expect("a body is worth its bytes");
    }
    for length in [20, 16 * 1024] {
        let (download, _) = pace(true);
        for _ in 0..1_000_000 {
            download.sent_frames(data(length));
            download
                .received_frames(26, Seen::default())
                .expect("so is what keeps a download going");
        }
    }
}

#[test]
fn a_connection_rests_a_second_after_its_last_answer_and_only_between_requests() {
    let (pace, _) = pace(false);
    let later = || Instant::now() + seconds(2);
    pace.is_between(true);
    assert!(!pace.rests(later()), "no request has come");
    let turn = pace.begin();
    let body = turn.busy();
    assert!(!pace.rests(later()), "it is being answered");
    drop(turn);
    assert!(!pace.rests(later()), "its body is still read");
    drop(body);
    assert!(!pace.rests(Instant::now()), "just now");
    assert!(pace.rests(later()));
    pace.waits(true);
    assert!(!pace.rests(later()), "the peer has not taken the answer");
    pace.waits(false);
    pace.is_between(false);
    assert!(!pace.rests(later()), "more has come, or it is being closed");
}
