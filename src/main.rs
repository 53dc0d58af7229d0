mod config;
mod release;
mod store;

fn main() {}
