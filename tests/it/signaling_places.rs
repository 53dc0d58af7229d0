//! How many connections may be there, from the accept on, on a port with TLS as on one without.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::harness::tls::Client;
use crate::harness::wait::{CEILING, wait_until};
use crate::harness::websocket::{WebSocket, connect_from};
use crate::harness::{Builder, Daemon};

/// With it, the port tells TLS from plain.
const HOST: &str = "[hosts.\"a.localhost\"]\n";

fn start(settings: &str, hosts: &str) -> Daemon {
    let config = format!("[signaling]\n{settings}\n{hosts}");
    Builder::new().config(&config).start()
}

fn connect(daemon: &Daemon) -> TcpStream {
    let address = daemon.signaling.expect("a signaling address");
    let stream = TcpStream::connect(address).expect("a connection");
    stream
        .set_read_timeout(Some(CEILING))
        .expect("a read timeout");
    stream
}

#[track_caller]
fn until_counted(daemon: &Daemon, reason: &str, wanted: u64) {
    let name = format!("seance_signaling_ends_total{{reason=\"{reason}\"}}");
    wait_until(reason, || daemon.metric(&name), |ends| *ends == wanted);
}

/// Waits for the end of a connection.
fn assert_ends(mut stream: TcpStream) {
    let end = stream.read(&mut [0; 16]);
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[test]
fn connections_that_say_nothing_take_the_places_of_their_own_address_only() {
    for hosts in ["", HOST] {
        let limits = "max_connections = 4\nmax_connections_per_address = 2\nhandshake_timeout_seconds = 3600";
        let daemon = start(limits, hosts);
        let address = daemon.signaling.expect("a signaling address");
        // Half of them have begun to speak.
        let silent = (0..300).map(|n| {
            let mut stream = connect_from("127.0.0.2", address);
            let begun = if n % 2 == 0 { "" } else { "G" };
            stream.write_all(begun.as_bytes()).unwrap_or_default(); // dropped already
            stream
        });
        let silent: Vec<TcpStream> = silent.collect();
        let stream = connect_from("127.0.0.3", address);
        let peer = WebSocket::open_on(stream, "/", "");
        peer.expect("the handshake is accepted").settle();
        until_counted(&daemon, "too_many_from_address", 300 - 18);
        drop(silent);
        // With that of the peer above.
        until_counted(&daemon, "gone", 18 + 1);
        let stream = connect_from("127.0.0.2", address);
        let peer = WebSocket::open_on(stream, "/", "");
        peer.expect("the places are free").settle();
    }
}

#[test]
fn whoever_does_not_get_through_the_door_of_a_port_with_tls_is_counted() {
    let daemon = start("handshake_timeout_seconds = 1\nplain = false", HOST);
    assert_ends(connect(&daemon));
    until_counted(&daemon, "handshake_timeout", 1);
    let mut plain = connect(&daemon);
    plain.write_all(b"GET / HTTP/1.1\r\n").expect("taken");
    assert_ends(plain);
    until_counted(&daemon, "handshake_refused", 1);
    let address = daemon.signaling.expect("a signaling address");
    Client::trusting_all().refusal(address, "unknown.localhost");
    until_counted(&daemon, "handshake_refused", 2);
    drop(connect(&daemon));
    until_counted(&daemon, "gone", 1);
}

#[test]
fn the_limits_of_a_port_with_tls_are_those_of_the_last_reload() {
    let daemon = start("handshake_timeout_seconds = 3600", HOST);
    daemon.reload(&format!(
        "[signaling]\nhandshake_timeout_seconds = 1\n{HOST}"
    ));
    assert_ends(connect(&daemon));
    until_counted(&daemon, "handshake_timeout", 1);
    let limits = "handshake_timeout_seconds = 3600\nmax_connections_per_address = 1";
    daemon.reload(&format!("[signaling]\n{limits}\n{HOST}"));
    let crowd: Vec<TcpStream> = (0..18).map(|_| connect(&daemon)).collect();
    until_counted(&daemon, "too_many_from_address", 1);
    drop(crowd);
}
