//! The client against nodes that do what a test tells them.

mod appends;
mod fake;
mod reads;
