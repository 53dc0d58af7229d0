//! What is asked of the room from outside: tokens, TURN credentials, who is where.

use std::collections::HashMap;
use std::sync::Arc;

use http::{Request, StatusCode};
use jiff::Timestamp;

use super::token::{OrderError, TokenOrder};
use super::turn::Credentials;
use super::{Signaling, lock};
use crate::clock;

/// Counts of one moment.
pub struct Census {
    /// On this node.
    pub connections: usize,
    /// On all nodes.
    pub topics: usize,
    /// The fullest first.
    pub rooms: Vec<Occupancy>,
}

pub struct Occupancy {
    pub topic: Arc<str>,
    /// Subscribers on this node, and on all nodes.
    pub here: usize,
    pub everywhere: usize,
}

/// Whether the rooms of other nodes can be reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum BusState {
    NotConfigured,
    Connected,
    Lost,
}

impl Signaling {
    /// A token and when it expires.
    pub fn make_token(&self, order: TokenOrder) -> Result<(String, Timestamp), OrderError> {
        let room = lock(&self.room);
        let most = room.rules.settings.token_lifetime_seconds;
        let (token, expires) = room.rules.admission.keys.issue(order, clock::now(), most)?;
        let expires = Timestamp::from_second(expires).unwrap_or(Timestamp::MAX); // of the year 9999
        Ok((token, expires))
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

    pub fn bus_state(&self) -> BusState {
        match &lock(&self.room).bus {
            None => BusState::NotConfigured,
            Some(bus) if bus.up => BusState::Connected,
            Some(_) => BusState::Lost,
        }
    }

    /// Who is where, at most `most` rooms; those of other nodes are among them.
    pub fn census(&self, most: usize) -> Census {
        let room = lock(&self.room);
        let mut elsewhere: HashMap<Arc<str>, usize> = HashMap::new();
        if let Some(bus) = &room.bus {
            let totals = bus.nodes.totals();
            elsewhere.extend(totals.map(|(topic, count)| {
                (topic.clone(), usize::try_from(count).unwrap_or(usize::MAX))
            }));
        }
        let connections = room.open_count();
        let local = room.hub.rooms();
        drop(room);
        let mut rooms = Vec::with_capacity(local.len() + elsewhere.len());
        for (topic, here) in local {
            let everywhere = here + elsewhere.remove(&topic).unwrap_or(0);
            rooms.push(Occupancy {
                topic,
                here,
                everywhere,
            });
        }
        rooms.extend(elsewhere.into_iter().map(|(topic, everywhere)| Occupancy {
            topic,
            here: 0,
            everywhere,
        }));
        let topics = rooms.len();
        rooms.sort_by_key(|room| std::cmp::Reverse(room.everywhere));
        rooms.truncate(most);
        Census {
            connections,
            topics,
            rooms,
        }
    }
}
