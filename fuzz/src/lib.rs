//! What the fuzz targets have in common: how an input says what is to be done,
//! and what must be true of all that comes out.

pub mod script;
pub mod spans;
