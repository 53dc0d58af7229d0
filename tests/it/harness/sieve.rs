//! A way to a server on which a test judges each connection by the first that its client sends.

use std::io::{Read as _, Write as _, copy};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

pub struct Sieve {
    pub address: SocketAddr,
}

impl Sieve {
    /// Connections whose beginning `passes`, which may take its time, go on to `server`; the others are closed.
    #[expect(
        clippy::disallowed_methods,
        reason = "lets connections in beside the test"
    )]
    pub fn to(server: SocketAddr, passes: impl Fn(&str) -> bool + Send + Sync + 'static) -> Sieve {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let passes = Arc::new(passes);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let passes = passes.clone();
                std::thread::spawn(move || pass(client, server, &*passes));
            }
        });
        Sieve { address }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a socket is read while another is"
)]
fn pass(mut client: TcpStream, server: SocketAddr, passes: &dyn Fn(&str) -> bool) {
    let mut first = vec![0; 16 * 1024];
    let Ok(length @ 1..) = client.read(&mut first) else {
        return;
    };
    first.truncate(length);
    if !passes(&String::from_utf8_lossy(&first)) {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server) else {
        return;
    };
    // A peer that goes away ends what copies from or to it.
    let _gone = server.write_all(&first);
    let (mut from, mut to) = (clone(&server), clone(&client));
    let back = std::thread::spawn(move || {
        let _gone = copy(&mut from, &mut to);
        let _gone = to.shutdown(Shutdown::Write);
    });
    let _gone = copy(&mut client, &mut server);
    let _gone = server.shutdown(Shutdown::Write);
    back.join().expect("the other direction");
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a socket")
}
