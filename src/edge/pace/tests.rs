use super::*;

fn pace(http2: bool) -> (Arc<Pace>, Instant) {
    let begun = Instant::now();
    let http = config::Http {
        header_timeout_seconds: 10,
        idle_timeout_seconds: 75,
        write_timeout_seconds: 30,
        min_bytes_per_second: 100,
        max_resets_per_second: 3,
        ..config::Http::default()
    };
    (Arc::new(Pace::new(&http, begun, http2)), begun)
}

fn request(pace: &Arc<Pace>) -> Turn {
    pace.begin(&Request::new(()))
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_first_head_has_its_time_from_the_beginning() {
    let (pace, begun) = pace(false);
    let mut watch = Watch::default();
    assert_eq!(pace.look(begun, &mut watch), Look::Again(seconds(10)));
    pace.received(5, true).expect("no flood");
    let late = pace.look(begun + seconds(10), &mut watch);
    assert!(matches!(late, Look::Cut(_)), "{late:?}");
}

#[test]
fn silence_after_an_answer_has_more_time_than_a_head_that_has_begun() {
    let (pace, begun) = pace(false);
    let mut watch = Watch::default();
    pace.received(50, false).expect("no flood");
    let turn = request(&pace);
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
    pace.received(5, true).expect("no flood");
    let late = pace.look(begun + seconds(20), &mut watch);
    assert!(matches!(late, Look::Cut(_)), "{late:?}");
}

#[test]
fn an_answer_that_http2_flow_control_holds_back_is_cut_and_one_that_moves_is_not() {
    let (pace, begun) = pace(true);
    let mut watch = Watch::default();
    let mut turn = request(&pace);
    assert_eq!(
        pace.look(begun, &mut watch),
        Look::Again(seconds(10)),
        "the server is silent"
    );
    turn.handed();
    assert_eq!(pace.look(begun, &mut watch), Look::Again(seconds(10)));
    pace.sent(3000);
    assert_eq!(
        pace.look(begun + seconds(30), &mut watch),
        Look::Again(seconds(10)),
        "it moves"
    );
    pace.sent(2999);
    let stalled = pace.look(begun + seconds(60), &mut watch);
    assert!(matches!(stalled, Look::Cut(_)), "{stalled:?}");
    turn.asked();
    assert_eq!(
        pace.look(begun + seconds(90), &mut watch),
        Look::Again(seconds(10))
    );
}

#[test]
fn requests_that_are_taken_back_in_masses_end_the_connection() {
    let (pace, _) = pace(true);
    for _ in 0..100 {
        let mut answered = request(&pace);
        answered.complete();
        drop(answered);
    }
    assert!(pace.received(1, false).is_ok());
    // Perhaps a second ends in between.
    (0..7).for_each(|_| drop(request(&pace)));
    assert!(pace.received(1, false).is_err());
}

#[test]
fn frames_that_carry_nothing_end_the_connection() {
    let (pings, _) = pace(true);
    let sent: Result<Vec<()>, _> = (0..10_000).map(|_| pings.received(1000, false)).collect();
    assert!(sent.is_err());
    let (upload, _) = pace(true);
    for _ in 0..100_000 {
        upload.body(1000);
        upload
            .received(1009, false)
            .expect("a body is worth its bytes");
    }
    let (download, _) = pace(true);
    for _ in 0..1_000_000 {
        download.sent(16 * 1024);
        download
            .received(26, false)
            .expect("so is what keeps a download going");
    }
}
