//! Link, server and router together, over real sockets.

mod beats;
mod calls;
mod hostile;
mod kit;
mod names;
mod replication;
