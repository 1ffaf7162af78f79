//! Link, server and router together, over real sockets.

mod calls;
mod heartbeats;
mod hostile;
mod kit;
mod names;
mod replication;
