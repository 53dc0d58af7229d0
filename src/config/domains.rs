//! Hosts by the names that existing deployments have for them in their environment.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use super::checks;
use super::files::Files;
use super::hosts::{Host, Hosts};
use super::layers::{Environment, LayerError, wrong};
use super::routes::{Route, Target};
use super::table::{HostName, Place, Places};
use super::types::AppName;

type Routes = fn() -> Vec<Route>;

/// Each with what answers for its host.
const DOMAINS: [(&str, Routes); 3] = [
    ("CADDY_DOMAIN", backend),
    ("APP_DOMAIN", app),
    ("MARKETING_DOMAIN", app),
];

pub fn is_variable(name: &str) -> bool {
    DOMAINS.iter().any(|(variable, _)| *variable == name)
}

/// Adds the hosts that the environment names and `hosts` does not have, whatever the case; a port is cut off. Returns
/// whether there was one to add.
///
/// # Errors
/// A value that is no host name, and one host for two purposes.
pub fn add(
    hosts: &mut Hosts,
    places: &mut HashMap<String, Places>,
    environment: &Environment,
) -> Result<bool, LayerError> {
    let mut added: Vec<(String, Host, Place)> = Vec::new();
    for (variable, routes) in DOMAINS {
        let Some(value) = environment.get(variable).filter(|value| !value.is_empty()) else {
            continue;
        };
        let name = host_name(value)
            .ok_or_else(|| wrong(variable, value, "a host name, perhaps with a port"))?;
        if hosts.keys().any(|known| known.eq_ignore_ascii_case(&name)) {
            continue;
        }
        let host = Host {
            routes: routes(),
            ..Host::default()
        };
        match added.iter().find(|(known, ..)| *known == name) {
            Some((_, same, _)) if *same == host => {}
            Some(_) => return Err(wrong(variable, value, "another host than CADDY_DOMAIN")),
            None => added.push((name, host, Place::Variable(variable))),
        }
    }
    let any = !added.is_empty();
    for (name, host, place) in added {
        let routes = vec![place.clone(); host.routes.len()];
        let place = Places {
            host: place,
            routes,
        };
        places.insert(name.clone(), place);
        hosts.insert(name, host);
    }
    Ok(any)
}

/// An IPv4 address would pass for a name, but nobody certifies it as one.
fn host_name(value: &str) -> Option<String> {
    let name = HostName::parse(value)?;
    let name = name.as_str();
    let fits = checks::is_host(name) && name.parse::<Ipv4Addr>().is_err();
    fits.then(|| name.to_owned())
}

fn backend() -> Vec<Route> {
    let signaling = Route {
        path: "/signaling".to_owned(),
        to: Target::Signaling,
        ..Route::default()
    };
    vec![Route::default(), signaling]
}

fn app() -> Vec<Route> {
    let files = Files {
        app: Some(AppName::default_app()),
        spa: true,
        ..Files::default()
    };
    vec![Route {
        to: Target::Files(files),
        ..Route::default()
    }]
}
