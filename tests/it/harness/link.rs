//! A bad link to a server: it counts what clients send, and something happens whenever so many bytes have gone.

use std::io::{Read as _, Write as _, copy};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub struct Link {
    pub address: SocketAddr,
    meter: Arc<Meter>,
}

/// What is done with all connections together, so that the event comes after exactly `every` bytes.
struct Meter {
    passed: AtomicU64,
    every: u64,
    left: Mutex<u64>,
    event: Box<dyn Fn() + Send + Sync>,
}

impl Link {
    /// A link that lets everything pass.
    pub fn to(server: SocketAddr) -> Link {
        Link::with(server, u64::MAX, || {})
    }

    /// A link on which, whenever clients sent `every` bytes, `event` happens and the connection that sent the last of
    /// them is cut.
    #[expect(
        clippy::disallowed_methods,
        reason = "lets connections in beside the test"
    )]
    pub fn with(server: SocketAddr, every: u64, event: impl Fn() + Send + Sync + 'static) -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let meter = Arc::new(Meter {
            passed: AtomicU64::new(0),
            every,
            left: Mutex::new(every),
            event: Box::new(event),
        });
        let shared = meter.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(server) else {
                    continue;
                };
                for stream in [&client, &server] {
                    stream.set_nodelay(true).expect("a socket");
                }
                let meter = shared.clone();
                let (from, to) = clones(&client, &server);
                std::thread::spawn(move || meter.pump(from, to));
                let (mut from, mut to) = clones(&server, &client);
                std::thread::spawn(move || {
                    // However it ends, the other side is told.
                    copy(&mut from, &mut to).map(drop).unwrap_or_default();
                    to.shutdown(Shutdown::Write).unwrap_or_default();
                });
            }
        });
        Link { address, meter }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Bytes that clients sent so far.
    pub fn passed(&self) -> u64 {
        self.meter.passed.load(Ordering::SeqCst)
    }

    /// Has the next event come when clients sent this many bytes more.
    pub fn after(&self, bytes: u64) {
        *self.meter.left.lock().expect("the meter") = bytes;
    }
}

impl Meter {
    /// Client to server; ends both directions when this one ends.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let mut left = self.left.lock().expect("the meter");
            let taken = usize::try_from(*left).map_or(length, |left| length.min(left));
            let written = to.write_all(&buffer[..taken]);
            self.passed.fetch_add(taken as u64, Ordering::SeqCst);
            *left -= taken as u64;
            if *left == 0 {
                (self.event)();
                *left = self.every;
                break;
            }
            if written.is_err() {
                break;
            }
        }
        for stream in [&from, &to] {
            // It may have ended by itself.
            stream.shutdown(Shutdown::Both).unwrap_or_default();
        }
    }
}

fn clones(one: &TcpStream, other: &TcpStream) -> (TcpStream, TcpStream) {
    let clone = |stream: &TcpStream| stream.try_clone().expect("a socket");
    (clone(one), clone(other))
}
