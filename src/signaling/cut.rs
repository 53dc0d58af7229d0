//! How a connection that was taken over from HTTP ends together with what still waits for its peer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// The order that a connection's end drops what its peer has not taken; else the kernel offers that for minutes. Whoever
/// owns the socket, or the stream of HTTP/2, sends it along as an extension of the request and obeys it.
#[derive(Clone, Default)]
pub struct Cut(Arc<State>);

#[derive(Default)]
struct State {
    given: AtomicBool,
    owner: AtomicWaker,
}

impl Cut {
    pub fn give(&self) {
        self.0.given.store(true, Ordering::Release);
        self.0.owner.wake();
    }

    pub fn is_given(&self) -> bool {
        self.0.given.load(Ordering::Acquire)
    }

    /// Ready once it is given.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.owner.register(cx.waker()); // before the look: it may be given in between
        match self.is_given() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}
