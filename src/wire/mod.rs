//! Bytes become events. Pure: in come bytes of a feed, out come [`event::Event`]s
//! that borrow from them, and a reason for everything that was not taken.
//!
//! Reading is liberal, bounded, and local: a broken element costs that element.

pub mod event;
pub mod rejection;
pub mod time;
