//! The options of a node, which `serve` and `health` take from the command line, the environment and a TOML file.
//!
//! | file | what it is |
//! |---|---|
//! | `node` | [`Options`]: all of them, and the configuration of the node that they make |
//! | `leader`, `retention` | those of two kinds |
//! | `values` | how times, sizes and counts are written |
//! | `sources` | [`Sources`]: which of the three places each option came from, for errors |

mod leader;
mod node;
mod retention;
mod sources;
pub(crate) mod values;

pub(crate) use node::{Options, OwnNode};
pub(crate) use sources::{Sources, named, without_empty_variables};
