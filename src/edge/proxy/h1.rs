//! One HTTP/1.1 connection to an upstream. It has no task of its own: whoever uses it drives it, so that a request
//! costs no turn of the scheduler beyond the client's connection.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::poll_fn;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::stream::Stream;
use super::upload::Upload;
use super::wait::Wait;
use crate::edge::deadline::Deadline;

pub struct H1 {
    sender: http1::SendRequest<Upload>,
    driver: Box<http1::Connection<TokioIo<Stream>, Upload>>,
    /// The connection has ended; its driver must not be polled again.
    ended: bool,
    pub deadline: Deadline,
}

impl H1 {
    pub fn new(
        sender: http1::SendRequest<Upload>,
        driver: http1::Connection<TokioIo<Stream>, Upload>,
    ) -> H1 {
        H1 {
            sender,
            driver: Box::new(driver),
            ended: false,
            deadline: Deadline::after(Duration::ZERO),
        }
    }

    pub fn drive(&mut self, cx: &mut Context<'_>) {
        // How it ended reaches the request or the body in flight.
        if !self.ended && Pin::new(&mut *self.driver).poll(cx).is_ready() {
            self.ended = true;
        }
    }

    /// Whether it can take a request, after a look at what the upstream did meanwhile.
    pub fn is_alive(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.is_ready()
    }

    /// Whether the last request and its answer are through.
    pub fn is_ready(&self) -> bool {
        !self.ended && self.sender.is_ready()
    }

    /// Sends a request and waits for the head of its answer; `None` when `wait` is over before.
    pub async fn send(
        &mut self,
        request: Request<Upload>,
        wait: &Wait,
    ) -> Option<Result<Response<Incoming>, TrySendError<Request<Upload>>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| {
            // What `drive` does, with the sender borrowed.
            if !self.ended && Pin::new(&mut *self.driver).poll(cx).is_ready() {
                self.ended = true;
            }
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(Some(answer));
            }
            wait.poll(&mut self.deadline, cx).map(|()| None)
        })
        .await
    }

    /// The bare connection after an upgrade, and what was read beyond the answer's head.
    pub fn into_stream(self) -> (Stream, Bytes) {
        let parts = self.driver.into_parts();
        (parts.io.into_inner(), parts.read_buf)
    }
}
