//! Where a file says something.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::table::{Place, Places};

/// Where the file names each host and each of its routes.
pub fn hosts(path: &Path, text: &str, table: &DeTable<'_>) -> HashMap<String, Places> {
    let place = |offset| Place::File {
        path: path.to_owned(),
        line: position(text, offset).0,
    };
    let found = table.iter().find(|(key, _)| key.get_ref() == "hosts");
    let Some(DeValue::Table(hosts)) = found.map(|(_, hosts)| hosts.get_ref()) else {
        return HashMap::new();
    };
    let host = |(name, host): (&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
        let routes = match host.get_ref().get("routes").map(Spanned::get_ref) {
            Some(DeValue::Array(routes)) => routes
                .iter()
                .map(|route| place(route.span().start))
                .collect(),
            _ => Vec::new(),
        };
        let places = Places {
            host: place(name.span().start),
            routes,
        };
        (name.get_ref().to_string(), places)
    };
    hosts.iter().map(host).collect()
}

/// Line and column, both from 1, of a byte offset.
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}
