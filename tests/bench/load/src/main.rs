//! Load for a y-webrtc signaling server: one thread, one epoll, no allocation per message.
//!
//! ```text
//! load connects ADDRESS COUNT                          connects per second, closing each connection
//! load idle ADDRESS COUNT                              opens COUNT, says so, holds them until stdin ends
//! load rooms ADDRESS ROOMS SIZE RATE SECONDS           deliveries; RATE 0 is as fast as it goes
//! load back ADDRESS COUNT                              opens COUNT, then says how long they took to be back
//! load stall ADDRESS SIZE RATE SECONDS                 like one room, plus a subscriber that never reads
//! ```
//! Results are one line of JSON on standard output.

mod client;
mod poll;
mod presence;

use std::io::Read as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use client::{Client, PUBLISH_TIME};
use poll::Poll;
use presence::Presence;

/// Opening handshakes that are under way at the same time.
const OPENING: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["connects", address, count] => connects(parse(address), parse(count)),
        ["idle", address, count] => idle(parse(address), parse(count)),
        ["rooms", address, rooms, size, rate, seconds] => {
            Rooms::open(parse(address), parse(rooms), parse(size), None)
                .run(parse(rate), parse(seconds));
        }
        ["stall", address, size, rate, seconds] => {
            let stalled = Client::open(parse(address));
            Rooms::open(parse(address), 1, parse(size), Some(stalled))
                .run(parse(rate), parse(seconds));
        }
        ["back", address, count] => back(parse(address), parse(count)),
        _ => panic!("usage: see the head of this program"),
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> T {
    text.parse()
        .unwrap_or_else(|_| panic!("{text} is not what belongs here"))
}

/// Opens `count` connections, some at a time, and returns them open.
fn open_all(address: SocketAddr, count: usize) -> Vec<Client> {
    let mut open = Vec::with_capacity(count);
    while open.len() < count {
        let batch: Vec<Client> = (0..OPENING.min(count - open.len()))
            .map(|_| Client::begin(address))
            .collect();
        for mut client in batch {
            client.finish();
            open.push(client);
        }
    }
    open
}

fn connects(address: SocketAddr, count: usize) {
    let started = Instant::now();
    for _ in 0..count / OPENING {
        drop(open_all(address, OPENING));
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{{\"connects_per_second\":{:.0}}}",
        (count / OPENING * OPENING) as f64 / seconds
    );
}

fn idle(address: SocketAddr, count: usize) {
    let _open = open_all(address, count);
    println!("{{\"open\":{count}}}");
    std::io::stdin()
        .read_to_end(&mut Vec::new())
        .expect("standard input");
}

enum Seat {
    Open(Client),
    /// The handshake is on its way.
    Opening(Client),
    /// The next try is at this time.
    Away(Instant),
}

/// Waits until every connection has ended, reconnects as y-webrtc does and reports when the last is back.
fn back(address: SocketAddr, count: usize) {
    let clients = open_all(address, count);
    println!("{{\"open\":{count}}}");
    let poll = Poll::new();
    clients
        .iter()
        .enumerate()
        .for_each(|(at, client)| poll.add(client.fd(), at));
    let mut seats: Vec<(Seat, u32)> = clients
        .into_iter()
        .map(|client| (Seat::Open(client), 0))
        .collect();
    let (mut returned, mut first) = (0, None);
    let mut buffer = vec![0; 64 * 1024];
    while returned < count {
        for at in poll.wait(1) {
            let (seat, failures) = &mut seats[at];
            let (Seat::Open(client) | Seat::Opening(client)) = seat else {
                continue;
            };
            match client.read(&mut buffer) {
                None => {
                    first.get_or_insert_with(Instant::now);
                    *seat = Seat::Away(Instant::now() + pause(*failures));
                    *failures += 1;
                }
                Some(length) if matches!(seat, Seat::Opening(_)) => {
                    assert!(
                        buffer[..length].starts_with(b"HTTP/1.1 101"),
                        "the handshake is answered by 101"
                    );
                    returned += 1;
                    let opened = std::mem::replace(seat, Seat::Away(Instant::now()));
                    let Seat::Opening(client) = opened else {
                        continue;
                    };
                    *seat = Seat::Open(client);
                }
                Some(_) => {}
            }
        }
        let now = Instant::now();
        for (at, (seat, failures)) in seats.iter_mut().enumerate() {
            if !matches!(seat, Seat::Away(due) if *due <= now) {
                continue;
            }
            match Client::try_begin(address) {
                Some(client) => {
                    poll.add(client.fd(), at);
                    *seat = Seat::Opening(client);
                }
                None => {
                    *seat = Seat::Away(Instant::now() + pause(*failures));
                    *failures += 1;
                }
            }
        }
    }
    let seconds = first.expect("one connection ended").elapsed().as_secs_f64();
    println!("{{\"back_seconds\":{seconds:.3}}}");
}

/// lib0's back-off: 1.2 s times log10 of the failures, at most 2.5 s; at once after the first end.
fn pause(failures: u32) -> Duration {
    Duration::from_secs_f64((f64::from(failures + 1).log10() * 1.2).min(2.5))
}

struct Rooms {
    clients: Vec<Client>,
    poll: Poll,
    rooms: usize,
    size: usize,
    _stalled: Option<Client>,
}

impl Rooms {
    fn open(address: SocketAddr, rooms: usize, size: usize, stalled: Option<Client>) -> Rooms {
        let mut clients = open_all(address, rooms * size);
        if let Some(stalled) = &stalled {
            stalled.subscribe(0);
        }
        for (at, client) in clients.iter_mut().enumerate() {
            client.subscribe(at / size);
        }
        clients.iter_mut().for_each(Client::settle);
        let poll = Poll::new();
        clients
            .iter()
            .enumerate()
            .for_each(|(at, client)| poll.add(client.fd(), at));
        Rooms {
            clients,
            poll,
            rooms,
            size,
            _stalled: stalled,
        }
    }

    /// `rate` deliveries per second, all rooms together. At 0 some members of each room publish again as soon as they
    /// hear themselves.
    fn run(&mut self, rate: usize, seconds: f64) {
        let begun = Instant::now();
        let (warm, end) = (seconds * 0.2, seconds * 1.2);
        let publishers = if rate == 0 {
            self.size.min(10.max(32 / self.rooms))
        } else {
            0
        };
        for room in 0..self.rooms {
            for member in 0..publishers {
                let at = room * self.size + member;
                self.clients[at].publish(room, at, now(begun));
            }
        }
        let pause = if rate == 0 {
            f64::MAX
        } else {
            self.size as f64 / rate as f64
        };
        let (mut next, mut turn) = (0.0, 0);
        let mut buffer = vec![0; 256 * 1024];
        let mut deliveries = 0u64;
        let mut latencies: Vec<u32> = Vec::with_capacity(1 << 20);
        // While this thread was away, deliveries waited for it: what it measured since it last looked is not the server's.
        let (mut presence, mut sure, mut trusted) = (Presence::new(), 0, 0);
        let mut measured = false;
        println!("{{\"warming\":true}}");
        loop {
            let time = begun.elapsed().as_secs_f64();
            if presence.was_interrupted() {
                latencies.truncate(sure);
                trusted = now(begun);
                // Publishes that were missed are not made up for: a burst would be this thread's work.
                next = time.max(next);
            }
            sure = latencies.len();
            if !measured && time > warm {
                measured = true;
                deliveries = 0;
                latencies.clear();
                sure = 0;
                println!("{{\"measuring\":true}}");
            }
            if time > end {
                break;
            }
            while next <= time && rate > 0 {
                // Rooms take turns, and within a room its members.
                let (room, member) = (turn % self.rooms, turn / self.rooms % self.size);
                self.clients[room * self.size + member].publish(room, usize::MAX, now(begun));
                turn += 1;
                next += pause;
            }
            for at in self.poll.wait(0) {
                let Some(length) = self.clients[at].read(&mut buffer) else {
                    panic!("connection {at} was closed")
                };
                let time = now(begun);
                let mut own = false;
                let taken = self.clients[at].frames(&buffer[..length], |payload| {
                    deliveries += 1;
                    own |= PUBLISH_TIME.sender(payload) == Some(at);
                    if deliveries & 15 == 0 {
                        let sent = PUBLISH_TIME.time(payload);
                        if sent >= trusted {
                            latencies
                                .push(u32::try_from(time.saturating_sub(sent)).unwrap_or(u32::MAX));
                        }
                    }
                });
                self.clients[at].keep(&buffer[taken..length]);
                if own && rate == 0 {
                    self.clients[at].publish(at / self.size, at, now(begun));
                }
            }
        }
        latencies.sort_unstable();
        let quantile = |q: f64| {
            latencies
                .get((latencies.len() as f64 * q) as usize)
                .map_or(0.0, |us| f64::from(*us) / 1e3)
        };
        println!(
            "{{\"deliveries\":{deliveries},\"seconds\":{seconds},\"p50_ms\":{:.3},\"p99_ms\":{:.3}}}",
            quantile(0.5),
            quantile(0.99)
        );
    }
}

/// Microseconds since `begun`.
fn now(begun: Instant) -> u64 {
    begun.elapsed().as_micros() as u64
}
