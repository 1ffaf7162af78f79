//! The client against nodes that do what a test tells them.

mod appends;
mod calls;
mod clusters;
mod endings;
mod failures;
mod fake;
mod masters;
mod no_member;
mod reads;
mod removed;
