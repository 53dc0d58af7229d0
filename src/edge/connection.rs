//! The life of one connection.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::gate::{Arrival, Way};
use super::io::Io;
use super::pace::{Look, Pace};
use super::patience::Patience;
use super::streams::{Executor, Streams};
use super::tls::handshake::Tls;
use super::wire::Wire;
use super::{Door, Shared, request};
use crate::cause::chain;
use crate::store::sendfile::FileQueue;
use crate::tasks;

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
    let arrival = Arc::new(Arrival { peer, way });
    let pace = Arc::new(Pace::new(&shared.http, begun, false));
    let builder = builder(shared, &pace);
    serve_http(shared, builder, (io, pace), arrival, Some(files)).await;
}

async fn serve_tls(shared: &Arc<Shared>, tls: &Tls, io: Io, peer: SocketAddr, begun: Instant) {
    let accepted = tokio::select! {
        accepted = tls.accept(io) => accepted,
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
    let pace = Arc::new(Pace::new(&shared.http, begun, http2));
    let builder = match http2 {
        true => builder(shared, &pace).http2_only(),
        false => builder(shared, &pace).http1_only(),
    };
    let arrival = Arc::new(Arrival { peer, way });
    serve_http(shared, builder, (stream, pace), arrival, None).await;
}

/// `files` is where answers may leave file pieces for the kernel to send.
async fn serve_http<I>(
    shared: &Arc<Shared>,
    builder: auto::Builder<Streams>,
    (io, pace): (I, Arc<Pace>),
    arrival: Arc<Arrival>,
    files: Option<FileQueue>,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let begun = Arc::new(FirstRequest::default());
    let wire = Wire::new(io, pace.clone());
    let service = {
        let (shared, begun, pace) = (shared.clone(), begun.clone(), pace.clone());
        service_fn(move |incoming| {
            begun.mark();
            let mut incoming: Request<Incoming> = incoming;
            if let Some(files) = &files
                && incoming.version() < Version::HTTP_2
            {
                incoming.extensions_mut().insert(files.clone());
            }
            let turn = pace.begin();
            request::answer(shared.clone(), arrival.clone(), turn, incoming)
        })
    };
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(wire), service));
    let mut watch = pace.watch();
    let mut look = pin!(tasks::pause(Duration::ZERO));
    let (mut used, mut draining, mut closing) = (false, false, false);
    loop {
        tokio::select! {
            ended = connection.as_mut() => return log_end(ended),
            () = shared.stop.cancelled() => return,
            () = begun.marked(), if !used => used = true,
            () = look.as_mut() => match pace.look(Instant::now(), &mut watch) {
                Look::Again(after) => look.set(tasks::pause(after)),
                Look::Close if closing => return,
                Look::Close => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                    look.set(tasks::pause(GOODBYE));
                }
                Look::Cut(reason) => return tracing::debug!(reason, "a connection is cut"),
            },
            // Not before the first request: a balancer's probe that connects now is to be told, not hung up on.
            () = shared.draining.cancelled(), if used && !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Whether a connection has begun a request.
#[derive(Default)]
struct FirstRequest {
    marked: AtomicBool,
    wake: Notify,
}

impl FirstRequest {
    fn mark(&self) {
        if !self.marked.swap(true, Ordering::Relaxed) {
            self.wake.notify_one();
        }
    }

    async fn marked(&self) {
        self.wake.notified().await;
    }
}

fn builder(shared: &Arc<Shared>, pace: &Arc<Pace>) -> auto::Builder<Streams> {
    let http = &shared.http;
    let mut builder = auto::Builder::new(Streams {
        executor: Executor(shared.tasks.clone()),
        pace: pace.clone(),
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

fn log_end(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(error = %chain(&*error), "a connection ended early");
    }
}
