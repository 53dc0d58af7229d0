//! The y-webrtc wire (version 10.3): one JSON object per WebSocket message.
//!
//! A client may send anything; what is not one of the four known messages changes nothing. A
//! publish is delivered as the sender wrote it, unknown members and spelling included, with one
//! member set: `clients`, the number of subscribers.

use std::borrow::Cow;

use super::json::{Cursor, Malformed, Span};

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    Subscribe(Vec<Cow<'a, str>>),
    Unsubscribe(Vec<Cow<'a, str>>),
    Publish(Publish<'a>),
    Ping,
    /// JSON that asks for nothing: another `type`, none, or members of the wrong kind.
    Other,
}

/// A publish, cut where the number of clients goes.
#[derive(Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    pub topic: Cow<'a, str>,
    head: &'a str,
    joint: &'static str,
    tail: &'a str,
}

/// The members of the outermost object that the protocol knows. As in `JSON.parse`, the last of
/// several with one name counts.
#[derive(Default)]
struct Members {
    kind: Option<Span>,
    topic: Option<Span>,
    topics: Option<usize>,
    clients: Option<(usize, usize)>,
}

/// Reads one message.
///
/// # Errors
/// The text is not JSON, or nests deeper than [`super::json::MAX_DEPTH`].
pub fn parse(text: &str) -> Result<Message<'_>, Malformed> {
    let bytes = text.as_bytes();
    let mut cursor = Cursor::new(bytes, 0);
    cursor.space();
    if cursor.peek() != Some(b'{') {
        cursor.skip_value(0)?;
        end(&mut cursor, bytes)?;
        return Ok(Message::Other);
    }
    let mut members = Members::default();
    let brace = object(&mut cursor, text, &mut members)?;
    end(&mut cursor, bytes)?;
    let Some(kind) = members.kind.and_then(|span| contents(text, span)) else {
        return Ok(Message::Other);
    };
    Ok(match &*kind {
        "publish" => publish(text, &members, brace),
        "ping" => Message::Ping,
        "subscribe" => topics(text, members.topics)?.map_or(Message::Other, Message::Subscribe),
        "unsubscribe" => topics(text, members.topics)?.map_or(Message::Other, Message::Unsubscribe),
        _ => Message::Other,
    })
}

fn end(cursor: &mut Cursor<'_>, bytes: &[u8]) -> Result<(), Malformed> {
    cursor.space();
    if cursor.at != bytes.len() {
        return Err(Malformed::Syntax(cursor.at));
    }
    Ok(())
}

/// Walks the outermost object and returns where its closing brace stands.
fn object(cursor: &mut Cursor<'_>, text: &str, members: &mut Members) -> Result<usize, Malformed> {
    cursor.expect(b'{')?;
    cursor.space();
    if cursor.take(b'}') {
        return Ok(cursor.at - 1);
    }
    loop {
        let key = cursor.key()?;
        let start = cursor.at;
        match contents(text, key).as_deref() {
            Some("type") => members.kind = string_or_skip(cursor)?,
            Some("topic") => members.topic = string_or_skip(cursor)?,
            Some("topics") => {
                cursor.skip_value(1)?;
                members.topics = Some(start);
            }
            Some("clients") => {
                cursor.skip_value(1)?;
                members.clients = Some((start, cursor.at));
            }
            _ => cursor.skip_value(1)?,
        }
        cursor.space();
        if !cursor.take(b',') {
            cursor.expect(b'}')?;
            return Ok(cursor.at - 1);
        }
    }
}

fn string_or_skip(cursor: &mut Cursor<'_>) -> Result<Option<Span>, Malformed> {
    if cursor.peek() == Some(b'"') {
        return cursor.string().map(Some);
    }
    cursor.skip_value(1)?;
    Ok(None)
}

/// The string in `span`; none when it holds half a surrogate pair, which no topic or type does.
fn contents(text: &str, span: Span) -> Option<Cow<'_, str>> {
    if !span.escaped {
        return text.get(span.start..span.end).map(Cow::Borrowed);
    }
    let quoted = text.get(span.start - 1..=span.end)?;
    // A lone surrogate is legal JSON but no Unicode string; such a name matches nothing.
    serde_json::from_str(quoted).ok().map(Cow::Owned)
}

fn publish<'a>(text: &'a str, members: &Members, brace: usize) -> Message<'a> {
    let topic = members.topic.and_then(|span| contents(text, span));
    let Some(topic) = topic.filter(|topic| !topic.is_empty()) else {
        return Message::Other;
    };
    let (joint, start, end) = match members.clients {
        Some((start, end)) => ("", start, end),
        None => (",\"clients\":", brace, brace),
    };
    Message::Publish(Publish {
        topic,
        head: &text[..start],
        joint,
        tail: &text[end..],
    })
}

/// The non-empty strings of the array at `start`; other elements are passed over, as the original
/// server does. None when there is no array.
fn topics(text: &str, start: Option<usize>) -> Result<Option<Vec<Cow<'_, str>>>, Malformed> {
    let Some(start) = start else { return Ok(None) };
    let mut cursor = Cursor::new(text.as_bytes(), start);
    if !cursor.take(b'[') {
        return Ok(None);
    }
    let mut names = Vec::new();
    cursor.space();
    while !cursor.take(b']') {
        if let Some(span) = string_or_skip(&mut cursor)? {
            names.extend(contents(text, span).filter(|name| !name.is_empty()));
        }
        cursor.space();
        cursor.take(b',');
        cursor.space();
    }
    Ok(Some(names))
}

impl Publish<'_> {
    /// Length in bytes of what [`Self::write`] appends for this number of clients.
    pub fn len(&self, clients: u32) -> usize {
        let digits = clients.checked_ilog10().unwrap_or(0) as usize + 1;
        self.head.len() + self.joint.len() + digits + self.tail.len()
    }

    /// Appends the object with `clients` set, everything else byte for byte as it came.
    pub fn write(&self, clients: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(self.head.as_bytes());
        out.extend_from_slice(self.joint.as_bytes());
        let mut digits = [0; 10];
        let mut at = digits.len();
        let mut rest = clients;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        out.extend_from_slice(&digits[at..]);
        out.extend_from_slice(self.tail.as_bytes());
    }
}

#[cfg(test)]
mod tests;
