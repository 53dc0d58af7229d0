//! What a release is: the files of a product, published together or not at all.

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "for staging, which is yet to come")
)]
pub mod body;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "for the release log, which is yet to come")
)]
pub mod path;
