//! Link, server and router together, over real sockets.

mod calls;
mod hostile;
mod kit;
mod replication;
