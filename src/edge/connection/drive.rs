//! What makes a connection go on: its requests, its deadlines, and the end of the daemon.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::header::UPGRADE;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use tokio::sync::Notify;

use super::{GOODBYE, Visit};
use crate::cause::chain;
use crate::edge::pace::{Look, Watch};
use crate::edge::recorded::Recorded;
use crate::edge::request;
use crate::store::sendfile::FileQueue;
use crate::tasks;

pub enum Outcome {
    Ended,
    Rests,
}

impl Visit {
    pub fn service(
        &self,
        files: Option<FileQueue>,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<Recorded>,
        Error = Infallible,
        Future = BoxFuture<'static, Result<Response<Recorded>, Infallible>>,
    > + 'static {
        let (shared, arrival) = (self.shared.clone(), self.arrival.clone());
        let (begun, pace, cut) = (self.begun.clone(), self.pace.clone(), self.cut.clone());
        service_fn(move |incoming| {
            begun.mark();
            let mut incoming: Request<Incoming> = incoming;
            if incoming.version() < Version::HTTP_2 {
                if let Some(files) = &files {
                    incoming.extensions_mut().insert(files.clone());
                }
                if incoming.headers().contains_key(UPGRADE) {
                    incoming.extensions_mut().insert(cut.clone());
                }
            }
            let turn = pace.begin();
            let answer = request::answer(shared.clone(), arrival.clone(), turn, incoming);
            answer.boxed() // HTTP moves it about
        })
    }

    /// Runs a connection until it ends; or, looked at as often as `rests` says, until it rests.
    pub async fn drive<C, E>(
        &self,
        mut connection: Pin<&mut C>,
        close: impl Fn(Pin<&mut C>),
        mut end_turn: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
        watch: &mut Watch,
        rests: Option<Duration>,
    ) -> Outcome
    where
        C: Future<Output = Result<(), E>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let shared = &self.shared;
        let mut used = self.begun.is_marked();
        let mut look = pin!(tasks::pause(rests.filter(|_| used).unwrap_or_default()));
        let (mut draining, mut closing) = (false, false);
        loop {
            let turn = poll_fn(|cx| {
                let polled = connection.as_mut().poll(cx).map_err(Into::into);
                match end_turn(cx) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
                    Poll::Ready(Ok(())) | Poll::Pending => polled,
                }
            });
            tokio::select! {
                ended = turn => {
                    log_end(ended);
                    return Outcome::Ended;
                }
                () = shared.stop.cancelled() => return Outcome::Ended,
                () = self.begun.marked(), if !used => used = true,
                () = look.as_mut() => match self.pace.look(Instant::now(), watch) {
                    Look::Again(_) if rests.is_some() && !closing && !draining && self.pace.rests(Instant::now()) => {
                        return Outcome::Rests;
                    }
                    Look::Again(after) => look.set(tasks::pause(rests.unwrap_or(after).min(after))),
                    Look::Close if closing => return Outcome::Ended,
                    Look::Close => {
                        closing = true;
                        close(connection.as_mut());
                        look.set(tasks::pause(GOODBYE));
                    }
                    Look::Cut(reason) => {
                        tracing::debug!(reason, "a connection is cut");
                        return Outcome::Ended;
                    }
                },
                // Not before the first request: a balancer's probe that connects now is to be told, not hung up on.
                () = shared.draining.cancelled(), if used && !draining => {
                    draining = true;
                    close(connection.as_mut());
                }
            }
        }
    }
}

/// Whether a connection has begun a request.
#[derive(Default)]
pub struct FirstRequest {
    marked: AtomicBool,
    wake: Notify,
}

impl FirstRequest {
    fn mark(&self) {
        if !self.marked.swap(true, Ordering::Relaxed) {
            self.wake.notify_one();
        }
    }

    fn is_marked(&self) -> bool {
        self.marked.load(Ordering::Relaxed)
    }

    async fn marked(&self) {
        self.wake.notified().await;
    }
}

fn log_end(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(error = %chain(&*error), "a connection ended early");
    }
}
