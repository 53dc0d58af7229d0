//! One connection's part in a turn: write what waited, read what came, act on it.

use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;

use super::end::End;
use super::frame::{self, Header, Opcode, Violation};
use super::handshake::{self, Outcome};
use super::hub::PeerId;
use super::message::{self, Message};
use super::peer::{Fragments, Nanos, Phase};
use super::room::{Room, offer, read_buffer};

/// Reads of one connection before the others have their turn.
const READS: usize = 4;
const PONG: &[u8] = br#"{"type":"pong"}"#;

impl Room {
    /// Moves one connection as far as its socket allows; ready when the connection has ended.
    pub fn poll_peer(&mut self, id: PeerId, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.now();
        let Some(peer) = self.peer(id) else {
            return Poll::Ready(());
        };
        if !peer
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            peer.waker = Some(cx.waker().clone());
        }
        for _ in 0..READS {
            if self.poll_write(id, cx, now).is_ready() {
                return Poll::Ready(());
            }
            let read = ready!(self.poll_read(id, cx));
            let Some(length) = read else {
                return Poll::Ready(());
            };
            self.received(id, length, now);
            self.acted(now);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ready when the connection is over. Waiting for room in the socket is not: reading goes on meanwhile.
    fn poll_write(&mut self, id: PeerId, cx: &mut Context<'_>, now: Nanos) -> Poll<()> {
        let Some(Some(peer)) = self.peers.get_mut(id) else {
            return Poll::Ready(());
        };
        let drained = self
            .hub
            .drain(id, |bytes| match peer.stream.poll_write(cx, bytes) {
                Poll::Ready(Ok(written)) => {
                    peer.blocked = now;
                    written
                }
                Poll::Ready(Err(_)) => {
                    // The peer went away; nothing that is still written reaches it.
                    peer.failed = true;
                    0
                }
                Poll::Pending => 0,
            });
        if let Poll::Ready(Err(_)) = peer.stream.poll_flush(cx) {
            peer.failed = true; // as above
        }
        if peer.failed {
            return Poll::Ready(());
        }
        if drained && peer.phase == Phase::Closing && !peer.shut {
            match peer.stream.poll_shutdown(cx) {
                Poll::Ready(Ok(())) => peer.shut = true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    /// The number of bytes that came into the shared buffer; none at the end of the stream.
    fn poll_read(&mut self, id: PeerId, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        let Some(Some(peer)) = self.peers.get_mut(id) else {
            return Poll::Ready(None);
        };
        // A panic in `received` took it along.
        if self.buffer.is_empty() {
            self.buffer = read_buffer();
        }
        let mut buffer = ReadBuf::new(&mut self.buffer);
        let read = ready!(peer.stream.poll_read(cx, &mut buffer));
        let length = buffer.filled().len();
        Poll::Ready((read.is_ok() && length > 0).then_some(length))
    }

    /// Acts on the first `length` bytes of the shared buffer.
    fn received(&mut self, id: PeerId, length: usize, now: Nanos) {
        let mut buffer = std::mem::take(&mut self.buffer);
        if let Some(bytes) = buffer.get_mut(..length) {
            self.read(id, bytes, now);
        }
        self.buffer = buffer;
    }

    /// Acts on bytes from a peer, after those of which the rest was missing; keeps what is incomplete.
    pub fn read(&mut self, id: PeerId, bytes: &mut [u8], now: Nanos) {
        let Some(phase) = self.peer(id).map(|peer| peer.phase) else {
            return;
        };
        // As they come: what is never finished costs memory, too.
        if phase == Phase::Open && !self.charge(id, bytes.len(), now) {
            return self.close(id, End::ByteRate);
        }
        let Some(peer) = self.peer(id) else { return };
        let mut partial = std::mem::take(&mut peer.partial);
        let continued = !partial.is_empty();
        let bytes = if continued {
            partial.extend_from_slice(bytes);
            &mut partial
        } else {
            bytes
        };
        let mut at = 0;
        while let Some(rest) = bytes.get_mut(at..) {
            let Some(phase) = self.peer(id).map(|peer| peer.phase) else {
                return;
            };
            let step = match phase {
                Phase::Handshake => self.read_head(id, rest, now),
                Phase::Open => self.read_frame(id, rest, now),
                Phase::Closing => return,
            };
            match step {
                Ok(0) => break,
                Ok(length) => at += length,
                Err(end) => return self.close(id, end),
            }
        }
        if at == bytes.len() {
            return;
        }
        let rest = if continued {
            partial.drain(..at);
            partial
        } else {
            bytes.get(at..).unwrap_or_default().to_vec()
        };
        if let Some(peer) = self.peer(id) {
            peer.partial = rest;
        }
    }

    /// Whether the peer may send so many bytes now.
    fn charge(&mut self, id: PeerId, bytes: usize, now: Nanos) -> bool {
        let Some(Some(peer)) = self.peers.get_mut(id) else {
            return true;
        };
        let rate = &self.rules.bytes;
        rate.charge(&mut peer.bytes, bytes as u64, now)
    }

    /// Reads a request head; the number of bytes it took, 0 while it is incomplete.
    fn read_head(&mut self, id: PeerId, bytes: &[u8], now: Nanos) -> Result<usize, End> {
        match handshake::read(bytes, &self.rules.admission) {
            Outcome::Incomplete => Ok(0),
            Outcome::Open {
                answer,
                head,
                grant,
            } => {
                self.send(id, answer, now);
                self.open(id, grant, now);
                match self.charge(id, bytes.len().saturating_sub(head), now) {
                    true => Ok(head),
                    false => Err(End::ByteRate),
                }
            }
            Outcome::Refused { answer, end } => {
                self.send(id, answer, now);
                Err(end)
            }
        }
    }

    /// Reads one frame; the number of bytes it took, 0 while it is incomplete.
    fn read_frame(&mut self, id: PeerId, bytes: &mut [u8], now: Nanos) -> Result<usize, End> {
        let Some(header) = frame::header(bytes)? else {
            return Ok(0);
        };
        let most = self.rules.settings.max_message_bytes;
        let length = usize::try_from(header.payload)
            .ok()
            .filter(|length| *length <= most);
        let Some(length) = length else {
            return Err(End::MessageTooBig);
        };
        let Some(payload) = bytes.get_mut(header.size..header.size + length) else {
            return Ok(0);
        };
        frame::unmask(payload, header.mask);
        let size = header.size + length;
        let Some(Some(peer)) = self.peers.get_mut(id) else {
            return Ok(0);
        };
        if !self.rules.messages.charge(&mut peer.messages, 1, now) {
            return Err(End::MessageRate);
        }
        self.hub.stats.bytes_in += size as u64;
        self.frame(id, header, payload, now)?;
        Ok(size)
    }

    fn frame(&mut self, id: PeerId, header: Header, payload: &[u8], now: Nanos) -> Result<(), End> {
        let most = self.rules.settings.max_message_bytes;
        let Some(peer) = self.peer(id) else {
            return Ok(());
        };
        match header.opcode {
            Opcode::Close => {
                Err(frame::close_answer(payload).map_or_else(End::CloseCode, End::Closed))
            }
            Opcode::Ping => {
                self.send(id, frame::encode(Opcode::Pong, payload), now);
                Ok(())
            }
            Opcode::Pong => {
                peer.ping_unanswered = false;
                Ok(())
            }
            Opcode::Text | Opcode::Binary => {
                if peer.fragments.is_some() {
                    return Err(Violation::Interleaved.into());
                }
                if header.fin {
                    return self.message(id, header.opcode, payload, now);
                }
                peer.fragments = Some(Box::new(Fragments {
                    opcode: header.opcode,
                    data: payload.to_vec(),
                    since: now,
                }));
                Ok(())
            }
            Opcode::Continuation => {
                let Some(mut fragments) = peer.fragments.take() else {
                    return Err(Violation::NothingToContinue.into());
                };
                if fragments.data.len() + payload.len() > most {
                    return Err(End::MessageTooBig);
                }
                fragments.data.extend_from_slice(payload);
                if header.fin {
                    return self.message(id, fragments.opcode, &fragments.data, now);
                }
                peer.fragments = Some(fragments);
                Ok(())
            }
        }
    }

    /// Acts on a whole message. Text has to be UTF-8 (RFC 6455 §8.1); anything else that cannot be read is dropped.
    fn message(
        &mut self,
        id: PeerId,
        opcode: Opcode,
        payload: &[u8],
        now: Nanos,
    ) -> Result<(), End> {
        self.hub.stats.messages_in += 1;
        if let Some(peer) = self.peer(id) {
            peer.heard = now;
        }
        let message = match std::str::from_utf8(payload).map(message::parse) {
            Ok(Ok(message)) => message,
            Err(_) if opcode == Opcode::Text => return Err(End::NotUtf8),
            Ok(Err(_)) | Err(_) => {
                self.malformed += 1;
                return Ok(());
            }
        };
        if self.peer(id).is_some_and(|peer| !peer.may(&message)) {
            return Err(End::Forbidden);
        }
        self.act(id, message, now)
    }

    fn act(&mut self, id: PeerId, message: Message<'_>, now: Nanos) -> Result<(), End> {
        let peers = &mut self.peers;
        let mut write = |to, bytes: &[u8]| offer(peers, to, bytes, now);
        match message {
            Message::Publish(publish) => {
                let mut elsewhere = 0;
                if let Some(bus) = &mut self.bus {
                    elsewhere = bus.nodes.total(&publish.topic);
                    bus.publish(&publish);
                }
                self.hub.publish(&publish, elsewhere, write);
            }
            Message::Subscribe(topics) => {
                for topic in topics {
                    self.hub.subscribe(id, &topic, &mut write)?;
                }
            }
            Message::Unsubscribe(topics) => {
                for topic in topics {
                    self.hub.unsubscribe(id, &topic, &mut write);
                }
            }
            Message::Ping => self.hub.send(id, frame::encode(Opcode::Text, PONG), write),
            Message::Other => {}
        }
        Ok(())
    }
}
