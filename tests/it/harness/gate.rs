//! A door between the daemon and a server, to be shut: what a server that went away looks like.

use std::io::copy;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub struct Gate {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    shut: bool,
    through: Vec<TcpStream>,
}

impl Gate {
    /// An open gate to `server`, on a free port.
    #[expect(
        clippy::disallowed_methods,
        reason = "lets connections in beside the test"
    )]
    pub fn to(server: SocketAddr) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        std::thread::spawn(move || {
            for inside in listener.incoming().flatten() {
                let mut state = shared.lock().expect("the gate");
                // Shut: dropped, so the client sees the connection end.
                if !state.shut
                    && let Ok(outside) = TcpStream::connect(server)
                {
                    pass(&inside, &outside);
                    pass(&outside, &inside);
                    state.through.extend([inside, outside]);
                }
            }
        });
        Gate { address, state }
    }

    /// Cuts what goes through, and lets nothing in.
    pub fn shut(&self) {
        let mut state = self.state.lock().expect("the gate");
        state.shut = true;
        for stream in state.through.drain(..) {
            // It may have ended by itself.
            stream.shutdown(Shutdown::Both).unwrap_or_default();
        }
    }

    pub fn open(&self) {
        self.state.lock().expect("the gate").shut = false;
    }
}

/// Copies one direction until it ends.
#[expect(
    clippy::disallowed_methods,
    reason = "a socket is read while others are"
)]
fn pass(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (
        from.try_clone().expect("a socket"),
        to.try_clone().expect("a socket"),
    );
    std::thread::spawn(move || {
        // However it ends, the other side is told.
        copy(&mut from, &mut to).map(drop).unwrap_or_default();
        to.shutdown(Shutdown::Write).unwrap_or_default();
    });
}
