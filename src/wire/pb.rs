//! The generated messages and services of `proto/dledger/v1`.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]

tonic::include_proto!("dledger.v1");
