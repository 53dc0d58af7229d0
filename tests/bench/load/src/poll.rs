//! epoll, edge for nothing: level-triggered readability is all that is needed.

use std::cell::RefCell;
use std::os::fd::RawFd;

pub struct Poll {
    epoll: RawFd,
    events: RefCell<Vec<libc::epoll_event>>,
}

impl Poll {
    pub fn new() -> Poll {
        // SAFETY: no pointers are passed.
        let epoll = unsafe { libc::epoll_create1(0) };
        assert!(epoll >= 0, "no epoll");
        let events = RefCell::new(vec![libc::epoll_event { events: 0, u64: 0 }; 1024]);
        Poll { epoll, events }
    }

    pub fn add(&self, fd: RawFd, token: usize) {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: token as u64,
        };
        // SAFETY: the event outlives the call.
        let added = unsafe { libc::epoll_ctl(self.epoll, libc::EPOLL_CTL_ADD, fd, &mut event) };
        assert_eq!(added, 0, "epoll does not take a socket");
    }

    /// The tokens that are readable.
    pub fn wait(&self, milliseconds: i32) -> Vec<usize> {
        let mut events = self.events.borrow_mut();
        // SAFETY: the kernel writes at most as many events as there is room for.
        let count = unsafe {
            libc::epoll_wait(
                self.epoll,
                events.as_mut_ptr(),
                events.len() as i32,
                milliseconds,
            )
        };
        events[..usize::try_from(count).unwrap_or(0)]
            .iter()
            .map(|event| event.u64 as usize)
            .collect()
    }
}
