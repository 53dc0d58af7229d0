//! `seance check-config`: exit code 0 when the file is right, 1 when it is not.

use std::path::Path;
use std::process::ExitCode;

use crate::cause::chain;
use crate::config;

pub fn run(file: &Path, json: bool) -> ExitCode {
    let checked = config::load(Some(file), &config::environment(), None);
    match &checked {
        Ok(config) if json => super::print(&format!("{}\n", summary(config))),
        Ok(config) => super::print(&format!(
            "{}: right ({} app(s))\n",
            file.display(),
            config.apps.len()
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

fn summary(config: &config::Config) -> serde_json::Value {
    let apps: Vec<&str> = config.apps.iter().map(|app| app.name.as_str()).collect();
    serde_json::json!({ "ok": true, "apps": apps, "listen": config.http_listen })
}
