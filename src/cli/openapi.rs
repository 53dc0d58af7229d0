//! `seance openapi`: the description of the HTTP API.

pub fn run() {
    super::print(&crate::api::document());
}
