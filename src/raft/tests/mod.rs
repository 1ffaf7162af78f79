//! | file | what it tests |
//! |---|---|
//! | `storage` | openraft's conformance suite; what disk admission and a start do with such a log |

mod storage;
