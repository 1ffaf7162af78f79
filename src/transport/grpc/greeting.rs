//! The first bytes of a connection. They tell a peer from a client before the node has granted the connection anything.

use std::fmt;

use super::{FRAME_BYTES, HEADER_BYTES, STREAM_WINDOW};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length (3), type, flags, stream (4).
const FRAME_HEADER: usize = 9;
const SETTINGS: u8 = 4;
/// Identifier (2) and value (4).
const SETTING: usize = 6;
/// Most settings in a greeting: more than any HTTP/2 implementation sends.
const MAX_SETTINGS: usize = 64;

/// What a caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Another node: it greets with the settings that this crate's nodes have among themselves.
    Peer,
    /// A client, a tool, or any other caller that does not greet as a node does.
    Client,
}

impl Caller {
    /// The option that limits the connections of such callers.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Caller::Peer => "--max-peer-connections (`Config::max_peer_connections`)",
            Caller::Client => "--max-connections (`Config::max_connections`)",
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Caller::Peer => "peer",
            Caller::Client => "client",
        })
    }
}

/// Tells a peer from a client by the first bytes of its connection: HTTP/2's preface and the settings behind it.
/// `None`: `said` is not long enough yet.
///
/// A peer is known by three settings that no client has together by accident: what `channel` sets for the connections
/// between nodes. This is no proof of identity: a caller that wants a peer's place can get one.
///
/// # Errors
/// The connection does not speak HTTP/2: what was found instead.
pub(crate) fn caller(said: &[u8]) -> Result<Option<Caller>, String> {
    let preface = &said[..said.len().min(PREFACE.len())];
    if !PREFACE.starts_with(preface) {
        return Err(format!("no HTTP/2: it begins with {:?}", preface.escape_ascii().to_string()));
    }
    let Some((header, payload)) = said.get(PREFACE.len()..).and_then(|frame| frame.split_at_checked(FRAME_HEADER))
    else {
        return Ok(None);
    };
    let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
    if header[3] != SETTINGS || !length.is_multiple_of(SETTING) || length > MAX_SETTINGS * SETTING {
        return Err(format!("no HTTP/2: a frame of type {} and {length} bytes where settings are due", header[3]));
    }
    let Some(settings) = payload.get(..length) else { return Ok(None) };
    let has = |id: u16, value: u32| {
        let wanted = [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
        settings.chunks_exact(SETTING).any(|setting| setting == wanted)
    };
    // INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE.
    let peer = has(4, STREAM_WINDOW) && has(5, FRAME_BYTES) && has(6, HEADER_BYTES);
    Ok(Some(if peer { Caller::Peer } else { Caller::Client }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(settings: &[(u16, u32)]) -> Vec<u8> {
        let mut said = PREFACE.to_vec();
        said.extend([0, 0, (settings.len() * SETTING) as u8, SETTINGS, 0, 0, 0, 0, 0]);
        for (id, value) in settings {
            said.extend(id.to_be_bytes());
            said.extend(value.to_be_bytes());
        }
        said
    }

    const PEER: [(u16, u32); 4] = [(2, 0), (4, STREAM_WINDOW), (5, FRAME_BYTES), (6, HEADER_BYTES)];

    #[test]
    fn a_peer_is_known_by_all_of_its_settings_and_anybody_else_is_a_client() {
        assert_eq!(caller(&greeting(&PEER)), Ok(Some(Caller::Peer)));
        assert_eq!(caller(&greeting(&[])), Ok(Some(Caller::Client)));
        for missing in 1..PEER.len() {
            let mut some = PEER.to_vec();
            some[missing].1 -= 1;
            assert_eq!(caller(&greeting(&some)), Ok(Some(Caller::Client)));
            some.remove(missing);
            assert_eq!(caller(&greeting(&some)), Ok(Some(Caller::Client)));
        }
    }

    #[test]
    fn nothing_is_decided_before_all_of_it_is_there_and_garbage_is_refused_at_its_first_byte() {
        let whole = [greeting(&PEER), vec![0; 13]].concat();
        let end = greeting(&PEER).len();
        for length in 0..whole.len() {
            let expected = (length >= end).then_some(Caller::Peer);
            assert_eq!(caller(&whole[..length]), Ok(expected), "{length} bytes");
        }
        assert!(caller(b"GET / HTTP/1.1").unwrap_err().contains("GET / HTTP"));
        assert!(caller(&[0xff]).is_err());
        let mut frame = greeting(&PEER);
        frame[PREFACE.len() + 3] = 0;
        assert!(caller(&frame).unwrap_err().contains("type 0"));
        let mut long = greeting(&PEER);
        long[PREFACE.len()] = 1;
        assert!(caller(&long).is_err());
    }
}
