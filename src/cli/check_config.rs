//! `seance check-config`: exit code 0 when the file is right, 1 when it is not.

use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use crate::cause::chain;
use crate::config::{
    self, Config, ConfigError, HostCertificate, Place, SecretError, TableRoute, Target,
};
use crate::signaling::token::{Keys, ShortKey};

#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("a file of `signaling.token_key_files` is no key")]
    Secret(#[from] SecretError),
    #[error(transparent)]
    ShortKey(#[from] ShortKey),
}

pub fn run(file: &Path, json: bool, quiet: bool) -> ExitCode {
    let checked = check(file);
    match &checked {
        Ok(config) if json => super::print(&format!("{}\n", summary(config))),
        Ok(_) if quiet => {}
        Ok(config) => super::print(&format!(
            "{}: right ({} app(s))\n{}",
            file.display(),
            config.apps.len(),
            explanation(config)
        )),
        Err(error) if json => {
            super::print(&format!(
                "{}\n",
                serde_json::json!({ "ok": false, "errors": [chain(error).to_string()] })
            ));
        }
        Err(error) => super::print_chain(error),
    }
    if checked.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn check(file: &Path) -> Result<Config, CheckError> {
    let config = config::load(Some(file), &config::environment(), None)?;
    for (name, source) in &config.signaling_secrets.tokens {
        match source.read() {
            // Where a configuration is checked, its secrets need not be, nor be open to who checks it.
            Err(SecretError::Read { source, .. })
                if matches!(
                    source.kind(),
                    ErrorKind::NotFound | ErrorKind::PermissionDenied
                ) => {}
            read => drop(Keys::new(&[(name.clone(), read?)])?),
        }
    }
    Ok(config)
}

fn summary(config: &Config) -> serde_json::Value {
    let apps: Vec<&str> = config.apps.iter().map(|app| app.name.as_str()).collect();
    let hosts: Vec<serde_json::Value> = config
        .table
        .hosts()
        .iter()
        .map(|host| {
            let routes = host.routes.iter().map(|route| {
                serde_json::json!({
                    "path": format!("{}/", route.prefix),
                    "to": target(&route.route.to),
                    "place": place(&route.place),
                })
            });
            serde_json::json!({
                "host": host.name,
                "place": place(&host.place),
                "certificate": certificate(config, &host.name),
                "routes": routes.collect::<Vec<_>>(),
            })
        })
        .collect();
    let warnings = warnings(config).into_iter();
    let warnings =
        warnings.map(|(at, warning)| serde_json::json!({ "place": place(at), "warning": warning }));
    serde_json::json!({
        "ok": true,
        "apps": apps,
        "listen": config.http_listen,
        "hosts": hosts,
        "warnings": warnings.collect::<Vec<_>>(),
    })
}

/// For each host its certificate, for each path what answers, and what says so.
fn explanation(config: &Config) -> String {
    let mut text = String::new();
    for host in config.table.hosts() {
        let with = match certificate(config, &host.name) {
            "acme" => "certificate by ACME",
            "local" => "certificate of the local CA",
            "files" => "certificate from files",
            _ => "plain HTTP, no certificate",
        };
        text += &format!("\n{}   {with}   ({})\n", host.name, host.place);
        for route in &host.routes {
            let path = format!("{}/", route.prefix);
            let to = target(&route.route.to);
            text += &format!("  {path:<24} {to}   ({})\n", route.place);
        }
    }
    for (place, warning) in warnings(config) {
        text += &format!("\nwarning: {place}: {warning}\n");
    }
    text
}

/// What is right where somebody in front, or the network, sees to it.
fn warnings(config: &Config) -> Vec<(&Place, String)> {
    let mut warnings = Vec::new();
    // The networks of those who end TLS.
    if !config.http.trusted_proxies.is_empty() {
        return warnings;
    }
    for host in config.table.hosts() {
        if config.certificates.get(&host.name) != Some(&HostCertificate::None) {
            continue;
        }
        let asking = |route: &&TableRoute| route.route.basic_auth.is_some();
        for route in host.routes.iter().filter(asking) {
            let (path, host) = (&route.route.path, &host.name);
            let warning = format!(
                "`basic_auth` of `{path}` of `{host}`: without TLS, passwords go over the network in plain text"
            );
            warnings.push((&route.place, warning));
        }
    }
    warnings
}

/// With what certificate a host of the table is served, as scripts read it.
fn certificate(config: &Config, host: &str) -> &'static str {
    match config.certificates.get(host) {
        Some(HostCertificate::Acme) => "acme",
        Some(HostCertificate::Local) => "local",
        Some(HostCertificate::Files { .. }) => "files",
        Some(HostCertificate::None) | None => "none",
    }
}

fn target(to: &Target) -> String {
    match to {
        Target::Backend => "backend".to_owned(),
        Target::Signaling => "signaling".to_owned(),
        Target::Files(files) => match (&files.app, &files.directory) {
            (Some(app), _) => format!("files of the app {app}"),
            (None, Some(directory)) => format!("files in {}", directory.display()),
            (None, None) => "files".to_owned(),
        },
        Target::Proxy(proxy) => {
            let upstreams: Vec<String> = proxy.upstreams.iter().map(ToString::to_string).collect();
            format!("proxy to {}", upstreams.join(", "))
        }
        Target::Redirect(redirect) => format!("{} to {}", redirect.status, redirect.location),
        Target::Respond(respond) => format!("always {}", respond.status),
    }
}

fn place(place: &Place) -> serde_json::Value {
    match place {
        Place::File { path, line } => serde_json::json!({ "file": path, "line": line }),
        Place::Variable(name) => serde_json::json!({ "variable": name }),
    }
}
