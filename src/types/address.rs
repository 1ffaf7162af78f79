//! `host:port`, the way it is written.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV6};

/// Longest host name, in bytes, as DNS has it.
const MAX_HOST: usize = 253;

/// An address that other nodes can connect to, in one spelling (`[::1]:1`, no leading zeros). Names stay names.
pub(crate) fn checked_address(text: &str) -> Result<String, String> {
    let (host, port) = split(text)?;
    if port == 0 {
        return Err("port 0 is no port to connect to: use 1 to 65535".into());
    }
    let ip: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    if ip.is_some_and(|ip| ip.to_canonical().is_unspecified()) {
        return Err(format!("{host} is where to listen, not where to be reached: use a name or the real IP"));
    }
    Ok(format!("{host}:{port}"))
}

/// An address to listen on: port 0 and the unspecified host will do.
pub(crate) fn checked_bind(text: &str) -> Result<(), String> {
    split(text).map(|_| ())
}

fn split(text: &str) -> Result<(String, u16), String> {
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err("no port: end it with :port".into());
    };
    // `parse` alone would let a plus sign through.
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let Some(number) = digits.then(|| port.parse().ok()).flatten() else {
        let found: String = port.chars().take(20).collect();
        return Err(format!("port {found:?} is not a number from 1 to 65535"));
    };
    Ok((checked_host(host)?, number))
}

fn checked_host(host: &str) -> Result<String, String> {
    if host.starts_with('[') {
        return match format!("{host}:0").parse::<SocketAddrV6>() {
            Ok(address) => Ok(address.to_string().trim_end_matches(":0").to_owned()),
            Err(_) => Err("what is in brackets is not an IPv6 address".into()),
        };
    }
    if host.contains(':') {
        return Err("an IPv6 address goes into brackets: [::1]:40911".into());
    }
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let starts_well = host.as_bytes().first().is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    if !starts_well || host.len() > MAX_HOST || !host.bytes().all(good) {
        return Err("the host is neither a name nor an IP".into());
    }
    // Digits alone are an address to the resolver too: 0 is every address there is.
    let numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err("the host is not an IPv4 address: use four numbers from 0 to 255".into());
    }
    Ok(host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_into_one_spelling() {
        for (text, read) in [
            ("localhost:1", "localhost:1"),
            ("127.0.0.1:65535", "127.0.0.1:65535"),
            ("broker-0.brokers.ns.svc.cluster.local.:040911", "broker-0.brokers.ns.svc.cluster.local.:40911"),
            ("_srv.example:7", "_srv.example:7"),
            ("[::1]:40911", "[::1]:40911"),
            ("[0:0::1]:40911", "[::1]:40911"),
            ("[fe80::1%2]:40911", "[fe80::1%2]:40911"),
        ] {
            assert_eq!(checked_address(text).as_deref(), Ok(read), "{text}");
            assert_eq!(checked_address(read).as_deref(), Ok(read), "{text} twice");
        }
    }

    #[test]
    fn addresses_that_nobody_can_reach_are_refused_with_the_reason() {
        for (text, why) in [
            ("", "no port"),
            ("host", "no port"),
            ("host:", "port \"\""),
            ("host:0", "port 0"),
            ("host:65536", "port \"65536\""),
            ("host:+1", "port \"+1\""),
            ("host:-1", "port \"-1\""),
            (":1", "neither a name nor an IP"),
            ("-host:1", "neither a name nor an IP"),
            ("ho st:1", "neither a name nor an IP"),
            ("hö:1", "neither a name nor an IP"),
            ("http://host:1", "brackets"),
            ("::1:40911", "brackets"),
            ("[::1:40911", "not an IPv6"),
            ("[]:1", "not an IPv6"),
            ("[nothing]:1", "not an IPv6"),
            ("10.0.0.300:1", "not an IPv4"),
            ("0.0.0.0:1", "where to listen"),
            ("[::0]:1", "where to listen"),
            ("[::ffff:0.0.0.0]:1", "where to listen"),
            ("0:1", "not an IPv4"),
            ("2130706433:1", "not an IPv4"),
        ] {
            let error = checked_address(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        let long = format!("{}:1", "h".repeat(MAX_HOST + 1));
        assert!(checked_address(&long).is_err());
        assert!(checked_address(&long[1..]).is_ok());
    }

    #[test]
    fn listening_takes_port_0_and_all_interfaces() {
        for good in ["127.0.0.1:0", "0.0.0.0:40911", "[::]:0", "localhost:40911"] {
            assert_eq!(checked_bind(good), Ok(()), "{good}");
        }
        assert!(checked_bind("40911").is_err());
    }
}
