//! A share of an HTTP/2 connection to an upstream. The connection has a task of its own, for many requests use it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::poll_fn;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2;

use super::upload::Upload;
use super::wait::Wait;
use crate::edge::deadline::Deadline;

pub struct H2 {
    sender: http2::SendRequest<Upload>,
    /// Shares of the same connection in use.
    streams: Arc<AtomicUsize>,
    pub deadline: Deadline,
}

impl H2 {
    pub fn new(sender: http2::SendRequest<Upload>) -> H2 {
        H2 {
            sender,
            streams: Arc::new(AtomicUsize::new(1)),
            deadline: Deadline::after(Duration::ZERO),
        }
    }

    /// Another share of the same connection.
    pub fn share(&self) -> H2 {
        self.streams.fetch_add(1, Ordering::Relaxed);
        H2 {
            sender: self.sender.clone(),
            streams: self.streams.clone(),
            deadline: Deadline::after(Duration::ZERO),
        }
    }

    /// How many shares there are, this one included.
    pub fn shares(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request and waits for the head of its answer; `None` when `wait` is over before.
    pub async fn send(
        &mut self,
        request: Request<Upload>,
        wait: &Wait,
    ) -> Option<Result<Response<Incoming>, TrySendError<Request<Upload>>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => wait.poll(&mut self.deadline, cx).map(|()| None),
        })
        .await
    }
}

impl Drop for H2 {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
