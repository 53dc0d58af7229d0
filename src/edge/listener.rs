//! Listening sockets: inherited from systemd by name, or bound; and the accept loop of one worker.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::socket::sockopt;
use nix::sys::socket::{SockType, getsockopt};
use tokio::net::TcpStream;

use crate::tasks;

/// Connections that the kernel keeps ready between two turns of the accept loop.
const BACKLOG: i32 = 4096;
/// Pause after an accept that failed for want of descriptors or memory: the connection stays in the queue.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {address} (`{key}`)")]
    Bind {
        key: &'static str,
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("an inherited socket named `{name}` is not a listening TCP socket")]
    NotListening { name: &'static str },
    #[error(
        "the inherited sockets named `{name}` are bound to {inherited:?}, but `{key}` is {configured:?}"
    )]
    Contradiction {
        name: &'static str,
        key: &'static str,
        inherited: Vec<SocketAddr>,
        configured: Vec<SocketAddr>,
    },
    #[error("cannot read the address of an inherited socket named `{name}`")]
    Inherited {
        name: &'static str,
        #[source]
        source: io::Error,
    },
}

/// Takes the inherited sockets when there are any, else binds the configured addresses. Port 0 binds any free port.
pub fn listen(
    name: &'static str,
    key: &'static str,
    configured: &[SocketAddr],
    inherited: Vec<OwnedFd>,
) -> Result<Vec<TcpListener>, ListenError> {
    if inherited.is_empty() {
        return configured
            .iter()
            .map(|address| bind(key, *address))
            .collect();
    }
    let mut listeners = Vec::with_capacity(inherited.len());
    for socket in inherited {
        let stream =
            getsockopt(&socket, sockopt::SockType).is_ok_and(|kind| kind == SockType::Stream);
        let listening = getsockopt(&socket, sockopt::AcceptConn).unwrap_or(false);
        if !stream || !listening {
            return Err(ListenError::NotListening { name });
        }
        let listener = TcpListener::from(socket);
        listener
            .set_nonblocking(true)
            .map_err(|source| ListenError::Inherited { name, source })?;
        listeners.push(listener);
    }
    let addresses: Result<Vec<SocketAddr>, io::Error> =
        listeners.iter().map(TcpListener::local_addr).collect();
    let addresses = addresses.map_err(|source| ListenError::Inherited { name, source })?;
    let fits = addresses.len() == configured.len()
        && configured
            .iter()
            .all(|wanted| addresses.iter().any(|address| same(*wanted, *address)));
    if fits {
        return Ok(listeners);
    }
    Err(ListenError::Contradiction {
        name,
        key,
        inherited: addresses,
        configured: configured.to_vec(),
    })
}

fn same(configured: SocketAddr, inherited: SocketAddr) -> bool {
    configured.ip() == inherited.ip()
        && (configured.port() == inherited.port() || configured.port() == 0)
}

fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    let bound = || -> io::Result<TcpListener> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            None,
        )?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bound().map_err(|source| ListenError::Bind {
        key,
        address,
        source,
    })
}

/// The next connection. Errors of one connection are passed over; want of resources is waited out. The address of an
/// IPv4 client is an IPv4 address on IPv6 listeners, too: logs, audit and upstreams name clients as people do.
pub async fn accept(listener: &tokio::net::TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                return (stream, peer);
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(error = %error, "cannot accept a connection");
                tasks::pause(ACCEPT_PAUSE).await;
            }
        }
    }
}
