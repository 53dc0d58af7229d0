//! The life of one connection.

mod drive;
mod rest;

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use self::drive::FirstRequest;
use super::batch::Batch;
use super::gate::{Arrival, Way};
use super::io::Io;
use super::pace::Pace;
use super::patience::Patience;
use super::streams::{Executor, Streams};
use super::tls::handshake::Tls;
use super::wire::Wire;
use super::{Door, Shared};
use crate::cause::chain;
use crate::signaling::Cut;
use crate::store::sendfile::FileQueue;

/// HTTP/2 has no idle timeout of its own: a peer that does not answer a PING is gone.
const H2_PING_EVERY: Duration = Duration::from_secs(30);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(15);
/// Time for a peer that has had no request for too long to see that it is let go.
const GOODBYE: Duration = Duration::from_secs(2);
/// Streams that a peer opened and took back before they were looked at, and streams that were refused for a fault of
/// the peer: more of them end an HTTP/2 connection with ENHANCE_YOUR_CALM (RFC 9113 §10.5).
const H2_RESETS_UNSEEN: usize = 20;
const H2_FAULTS: usize = 100;
/// Flow-control windows that let an upload run at full speed over 50 ms of round trip, bytes.
const H2_STREAM_WINDOW: u32 = 1024 * 1024;
const H2_CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

pub async fn serve(shared: &Arc<Shared>, stream: TcpStream, peer: SocketAddr, door: &Door) {
    let begun = Instant::now();
    let _open = shared.measures.open();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "cannot switch off Nagle's algorithm");
    }
    let files = FileQueue::default();
    let patience = Patience::new(
        Duration::from_secs(shared.http.write_timeout_seconds),
        shared.http.min_bytes_per_second,
    );
    let io = Io::new(stream, files.clone(), patience);
    let way = match door {
        Door::Plain => Way::Plain,
        Door::Private => Way::Private,
        Door::Secure(tls) => return serve_tls(shared, tls, io, peer, begun).await,
    };
    let visit = Visit::new(shared, Arrival { peer, way }, begun, io.cut(), false);
    let wire = Wire::new(io, visit.pace.clone());
    Box::pin(visit.serve(visit.builder(), wire, Some(files), |_| Poll::Ready(Ok(())))).await;
}

/// What a connection does is in boxes: it takes the memory that it needs now, not what it needed at its beginning.
async fn serve_tls(shared: &Arc<Shared>, tls: &Tls, io: Io, peer: SocketAddr, begun: Instant) {
    let cut = io.cut();
    let accepted = tokio::select! {
        accepted = Box::pin(tls.accept(io)) => accepted,
        () = shared.stop.cancelled() => return,
    };
    let stream = match accepted {
        Ok(Some(stream)) => stream,
        Ok(None) => return tracing::debug!(address = %peer.ip(), "answered a CA's challenge"),
        Err(error) => {
            return tracing::debug!(address = %peer.ip(), error = %chain(&error), "no TLS session");
        }
    };
    let session = stream.get_ref().1;
    let name = session.server_name().unwrap_or_default(); // without one there is no session
    let way = Way::Secure(name.to_ascii_lowercase().into());
    let http2 = session.alpn_protocol() == Some(b"h2");
    let visit = Visit::new(shared, Arrival { peer, way }, begun, cut, http2);
    if !http2 {
        return visit.serve_http1(stream).await;
    }
    let stream = Batch::new(stream);
    let (batch, pace) = (stream.handle(), visit.pace.clone());
    let end_turn = move |cx: &mut Context<'_>| {
        let ended = batch.end(cx);
        pace.waits(ended.is_pending());
        ended
    };
    let wire = Wire::new(stream, visit.pace.clone());
    Box::pin(visit.serve(visit.builder().http2_only(), wire, None, end_turn)).await;
}

/// One connection, whatever carries it.
struct Visit {
    shared: Arc<Shared>,
    arrival: Arc<Arrival>,
    pace: Arc<Pace>,
    begun: Arc<FirstRequest>,
    cut: Cut,
}

impl Visit {
    fn new(shared: &Arc<Shared>, arrival: Arrival, begun: Instant, cut: Cut, http2: bool) -> Visit {
        Visit {
            shared: shared.clone(),
            arrival: Arc::new(arrival),
            pace: Arc::new(Pace::new(&shared.http, begun, http2)),
            begun: Arc::default(),
            cut,
        }
    }

    /// `files` is where answers may leave file pieces for the kernel to send; `end_turn` is called whenever the
    /// connection has been polled.
    async fn serve<I>(
        &self,
        builder: auto::Builder<Streams>,
        wire: Wire<I>,
        files: Option<FileQueue>,
        end_turn: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
    ) where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = self.service(files);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(wire), service);
        let connection = pin!(connection);
        let close = |connection: Pin<&mut _>| {
            auto::UpgradeableConnection::graceful_shutdown(connection);
        };
        let mut watch = self.pace.watch();
        self.drive(connection, close, end_turn, &mut watch, None)
            .await;
    }

    fn builder(&self) -> auto::Builder<Streams> {
        let http = &self.shared.http;
        let mut builder = auto::Builder::new(Streams {
            executor: Executor(self.shared.tasks.clone()),
            pace: self.pace.clone(),
        });
        builder
            .http1()
            .header_read_timeout(None) // `Pace` tells heads from silence between requests
            .max_buf_size(http.max_header_bytes)
            .max_headers(http.max_headers);
        builder
            .http2()
            .timer(TokioTimer::new())
            .enable_connect_protocol()
            .keep_alive_interval(H2_PING_EVERY)
            .keep_alive_timeout(H2_PING_TIMEOUT)
            .max_header_list_size(u32::try_from(http.max_header_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(http.max_streams)
            .max_pending_accept_reset_streams(H2_RESETS_UNSEEN)
            .max_local_error_reset_streams(H2_FAULTS)
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW);
        builder
    }
}
