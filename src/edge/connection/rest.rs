//! HTTP/1.1 over TLS: between requests nothing of it is kept but the session.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::server::TlsStream;

use super::drive::Outcome;
use super::{GOODBYE, Visit};
use crate::edge::io::Io;
use crate::edge::pace::{Look, REST_AFTER, Watch};
use crate::edge::wire::Wire;
use crate::tasks;

impl Visit {
    pub async fn serve_http1(&self, stream: Box<TlsStream<Io>>) {
        let mut wire = Wire::new(stream, self.pace.clone());
        let mut watch = self.pace.watch();
        while let Some(mut idle) = Box::pin(self.requests(wire, &mut watch)).await {
            if !self.rest(&mut idle, &mut watch).await {
                return;
            }
            wire = idle;
        }
    }

    /// Answers requests. What carried them is given back when the connection rests.
    async fn requests(
        &self,
        wire: Wire<Box<TlsStream<Io>>>,
        watch: &mut Watch,
    ) -> Option<Wire<Box<TlsStream<Io>>>> {
        let http = &self.shared.http;
        let connection = http1::Builder::new()
            .header_read_timeout(None) // `Pace` tells heads from silence between requests
            .max_buf_size(http.max_header_bytes)
            .max_headers(http.max_headers)
            .serve_connection(TokioIo::new(wire), self.service(None));
        let mut connection = connection.with_upgrades();
        let close = |connection: Pin<&mut _>| {
            http1::UpgradeableConnection::graceful_shutdown(connection);
        };
        let end_turn = |_: &mut Context<'_>| Poll::Ready(Ok(()));
        let rests = Some(REST_AFTER);
        match self
            .drive(Pin::new(&mut connection), close, end_turn, watch, rests)
            .await
        {
            Outcome::Ended => None,
            // What hyper has read and not used is empty lines: whole requests are answered.
            Outcome::Rests => Some(connection.into_parts()?.io.into_inner()),
        }
    }

    /// Waits for the next request; `false` when there will be none.
    async fn rest(&self, wire: &mut Wire<Box<TlsStream<Io>>>, watch: &mut Watch) -> bool {
        let shared = &self.shared;
        let _resting = shared.measures.rest();
        let mut look = pin!(tasks::pause(Duration::ZERO));
        loop {
            tokio::select! {
                () = poll_fn(|cx| wire.poll_moves(cx)) => return true,
                () = shared.stop.cancelled() => return false,
                () = look.as_mut() => match self.pace.look(Instant::now(), watch) {
                    Look::Again(after) => look.set(tasks::pause(after)),
                    Look::Close | Look::Cut(_) => break,
                },
                () = shared.draining.cancelled() => break,
            }
        }
        let _in_time = tokio::time::timeout(GOODBYE, wire.shutdown()).await; // it may be gone already
        false
    }
}
