//! | file | what it tests |
//! |---|---|
//! | `crash_order` | votes and entries in every order that Raft may, the power lost at every step |
//! | `storage` | openraft's conformance suite; what disk admission and a start do with such a log |

mod crash_order;
mod storage;
