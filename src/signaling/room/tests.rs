use super::*;
use crate::config::NatsLogin;
use crate::signaling::message::{self, Message};

fn room() -> Room {
    let secrets = SignalingSecrets {
        tokens: Vec::new(),
        turn: None,
        nats: NatsLogin::Anonymous,
    };
    let rules = Rules::new(&Settings::default(), &secrets).expect("rules without secrets");
    let mut room = Room::new(rules);
    let peer = room.hub.join();
    room.hub
        .subscribe(peer, "a", |_, bytes| bytes.len())
        .expect("a topic");
    room
}

fn publish(room: &mut Room, now: Nanos) {
    let message = message::parse(r#"{"type":"publish","topic":"a"}"#);
    let Ok(Message::Publish(publish)) = message else {
        panic!("a publish, not {message:?}")
    };
    room.hub.publish(&publish, 0, |_, bytes| bytes.len());
    room.acted(now);
}

#[test]
fn what_is_published_goes_out_after_a_turn_though_there_is_more_to_read() {
    let mut room = room();
    publish(&mut room, 5);
    publish(&mut room, 5 + TURN - 1);
    assert!(room.hub.is_dirty(), "others are read meanwhile");
    room.acted(5 + TURN);
    assert!(!room.hub.is_dirty());
    publish(&mut room, 6 + TURN);
    assert!(room.hub.is_dirty(), "the next turn has its own time");
    room.flush();
    assert!(!room.hub.is_dirty());
}
