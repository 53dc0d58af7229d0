//! Connections that begin as a request on the HTTP listener.

use std::net::IpAddr;

use http::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::cut::Cut;
use super::end::End;
use super::stream::Stream;
use super::{Signaling, handshake, lock};

impl Signaling {
    /// Answers a request for the room; with 101, the connection joins it once the answer is out.
    pub fn upgrade<B>(&self, mut request: Request<B>, address: IpAddr) -> Response<&'static str> {
        let (response, grant, timeout) = {
            let mut room = lock(&self.room);
            let (response, grant) = handshake::respond(&request, &room.rules.admission);
            match response.status() {
                StatusCode::SWITCHING_PROTOCOLS => {}
                StatusCode::OK => room.count(End::Http),
                _ => room.count(End::HandshakeRefused),
            }
            (response, grant, room.handshake_timeout())
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let cut = request.extensions_mut().remove::<Cut>();
            let upgrade = hyper::upgrade::on(&mut request);
            let signaling = self.clone();
            let join = async move {
                match tokio::time::timeout(timeout, upgrade).await {
                    Ok(Ok(upgraded)) => signaling.enter_open(
                        Stream::Http(Box::new(TokioIo::new(upgraded)), cut),
                        address,
                        grant,
                    ),
                    Ok(Err(error)) => {
                        lock(&signaling.room).count(End::Gone);
                        tracing::debug!(%error, "a connection ended before it could join the room");
                    }
                    Err(_) => {
                        lock(&signaling.room).count(End::HandshakeTimeout);
                        tracing::debug!("a connection did not take its handshake");
                    }
                }
            };
            drop(self.tasks.short("signaling-upgrade", join)); // bounded by the handshake timeout
        }
        response
    }
}
