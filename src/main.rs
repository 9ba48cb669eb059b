//! runtrail, the program.

fn main() {}
