//! What is asked of the room from outside: tokens, TURN credentials, who is where.

use std::sync::Arc;

use http::{Request, StatusCode};
use jiff::Timestamp;

use super::token::TokenOrder;
use super::turn::Credentials;
use super::{Signaling, lock};
use crate::clock;

/// Counts of one moment.
pub struct Census {
    pub connections: usize,
    pub topics: usize,
    /// The fullest first.
    pub rooms: Vec<(Arc<str>, usize)>,
}

impl Signaling {
    /// A token and when it expires; none without a key to sign it.
    pub fn make_token(&self, order: TokenOrder) -> Option<(String, Timestamp)> {
        let room = lock(&self.room);
        let claims = order.claims(clock::now(), room.rules.settings.token_lifetime_seconds);
        let expires = Timestamp::from_second(claims.exp).ok()?; // in the year 9999 nobody asks
        Some((room.rules.admission.keys.sign(&claims)?, expires))
    }

    /// TURN credentials for whoever may enter the room; none where TURN is not configured.
    ///
    /// # Errors
    /// The status that refuses the request's origin or token.
    pub fn turn_credentials<B>(
        &self,
        user: &str,
        request: &Request<B>,
    ) -> Result<Option<Credentials>, StatusCode> {
        let room = lock(&self.room);
        let Some(turn) = &room.rules.turn else {
            return Ok(None);
        };
        room.rules.admission.admits(request)?;
        Ok(Some(turn.credentials(user, clock::now().as_second())))
    }

    /// Who is where, at most `most` rooms.
    pub fn census(&self, most: usize) -> Census {
        let (connections, mut rooms) = {
            let room = lock(&self.room);
            (room.open_count(), room.hub.rooms())
        };
        let topics = rooms.len();
        rooms.sort_by_key(|(_, subscribers)| std::cmp::Reverse(*subscribers));
        rooms.truncate(most);
        Census {
            connections,
            topics,
            rooms,
        }
    }
}
