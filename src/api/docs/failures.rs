//! Failures that follow from what an operation is, so that no route has to list them.

use utoipa::openapi::path::Operation;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};

const JSON: &str = "application/json";

/// Adds what the description of the operation does not have yet. `named` is one under the name of an app.
pub fn complete(operation: &mut Operation, named: bool) {
    let takes_json = match &operation.request_body {
        Some(RefOr::T(body)) => body.content.contains_key(JSON),
        Some(RefOr::Ref(_)) | None => false,
    };
    let guarded = operation.security.is_some();
    for (applies, status, description) in [
        (takes_json, "400", "The body is not what is described"),
        (guarded, "401", "The key is missing or wrong"),
        (guarded, "403", "The key may not do this"),
        (named, "404", "There is no such app"),
        (takes_json, "415", "The body is not declared as JSON"),
        (guarded, "429", "Too many wrong keys from this address"),
    ] {
        let described = &mut operation.responses.responses;
        if applies && !described.contains_key(status) {
            let body = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("ErrorBody")))
                .build();
            let failure = ResponseBuilder::new()
                .description(description)
                .content(JSON, body)
                .build();
            described.insert(status.to_owned(), failure.into());
        }
    }
}
