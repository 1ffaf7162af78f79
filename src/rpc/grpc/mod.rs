//! The transport over tonic. (to come)
