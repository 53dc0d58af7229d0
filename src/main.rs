mod release;

fn main() {}
