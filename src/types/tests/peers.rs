//! Tests of the peer list.

use proptest::prelude::*;

use super::*;

fn id(text: &str) -> NodeId {
    text.parse().unwrap()
}

fn peer(name: &str, address: &str) -> Peer {
    Peer { id: id(name), address: address.into() }
}

/// The list as `id=address` pairs.
fn parsed(text: &str) -> String {
    text.parse::<Peers>().unwrap_or_else(|e| panic!("{text}: {e}")).to_string()
}

fn parsed_for(text: &str, own: &str) -> String {
    Peers::parse_for(text, &id(own)).unwrap_or_else(|e| panic!("{text} for {own}: {e}")).to_string()
}

#[test]
fn both_spellings_and_their_mixture_are_read() {
    let plain = "n0=127.0.0.1:40911;n1=host-b:40912;n2=[::1]:40913";
    for text in [
        plain,
        "n0-127.0.0.1:40911;n1-host-b:40912;n2-[::1]:40913",
        "n0=127.0.0.1:40911,n1-host-b:40912;n2=[::1]:40913",
        " n0-127.0.0.1:40911 ;\n n1 = host-b:40912 ,\tn2-[::1]:40913 ; ",
    ] {
        assert_eq!(parsed(text), plain, "{text}");
        assert_eq!(parsed_for(text, "n1"), plain, "{text}");
    }
}

#[test]
fn pods_of_a_stateful_set_come_out_right_with_and_without_the_own_id() {
    let text = "broker-0-broker-0.brokers:40911;broker-1-broker-1.brokers:40911";
    let plain = "broker-0=broker-0.brokers:40911;broker-1=broker-1.brokers:40911";
    assert_eq!(parsed(text), plain);
    assert_eq!(parsed_for(text, "broker-1"), plain);
}

#[test]
fn the_own_id_decides_where_ids_end() {
    assert_eq!(parsed_for("a-b-c:1", "a"), "a=b-c:1");
    assert_eq!(parsed_for("a-b-c:1", "a-b"), "a-b=c:1");
    assert_eq!(parsed_for("a-0-h:1;b-0-h:2", "a-0"), "a-0=h:1;b-0=h:2");
    // The `=` spelling needs no rule.
    assert_eq!(parsed_for("a-b-c=h:3;a-x:1", "a"), "a-b-c=h:3;a=x:1");
}

#[test]
fn without_an_own_id_the_fewest_dashes_that_tell_the_ids_apart_decide() {
    assert_eq!(parsed("a-0-h:1;b-0-h:2"), "a=0-h:1;b=0-h:2");
    assert_eq!(parsed("a-0-h:1;a-1-h:2"), "a-0=h:1;a-1=h:2");
    assert_eq!(parsed("x-a-0-h:1;x-a-1-h:2"), "x-a-0=h:1;x-a-1=h:2");
    // An id in the `=` spelling has to differ too.
    assert_eq!(parsed("a=h:1;a-b-h:2"), "a=h:1;a-b=h:2");
}

#[test]
fn a_peer_alone_that_can_be_read_in_several_ways_is_refused() {
    assert_eq!(parsed("a-b:1"), "a=b:1");
    assert_eq!(parsed("a-b=c-d:1"), "a-b=c-d:1");
    assert_eq!(parsed("broker-0-broker-0.brokers:1"), "broker-0=broker-0.brokers:1");
    assert_eq!(parsed("broker-0-broker-0:1;"), "broker-0=broker-0:1");
    // A name is of 64 bytes at most, and no host begins with a dash.
    assert_eq!(parsed(&format!("n0-{}-h:1", "x".repeat(70))), format!("n0={}-h:1", "x".repeat(70)));
    let said = "broker-0-localhost:1".parse::<Peers>().unwrap_err().to_string();
    assert!(said.contains("broker at 0-localhost:1, or broker-0 at localhost:1"), "{said}");
    assert!(said.contains("`=` after the id says which"), "{said}");
}

#[test]
fn an_empty_list_is_refused() {
    for text in ["", "  \n", ";", " , "] {
        assert_eq!(text.parse::<Peers>(), Err(PeersError::Empty), "{text:?}");
        assert_eq!(Peers::parse_for(text, &id("n0")), Err(PeersError::Empty), "{text:?}");
    }
    assert_eq!(Peers::new(Vec::new()), Err(PeersError::Empty));
    assert!(PeersError::Empty.to_string().contains("write `n0-host:port"));
}

#[test]
fn what_cannot_be_read_is_quoted_with_the_reason() {
    for (text, reason) in [
        ("n0", "no '-' or '='"),
        ("n0-host", "no port"),
        ("n0-host:0", "port 0"),
        ("n0-host:65536", "65536"),
        ("n0=::1:5", "brackets"),
        ("n0=", "no port"),
        ("=host:1", "node id \"\""),
        ("-host:1", "node id \"\""),
        ("n 0=host:1", "node id \"n 0\""),
        ("n0=a=host:1", "neither a name nor an IP"),
        ("n0=h:1;;n1=h:2", "nothing between"),
        (";n0=h:1", "nothing between"),
        ("n0=0.0.0.0:1", "where to listen"),
    ] {
        let error = text.parse::<Peers>().unwrap_err();
        assert!(matches!(error, PeersError::Malformed { .. }), "{text}: {error:?}");
        assert!(error.to_string().contains(reason), "{text}: {error}");
        assert!(error.to_string().contains("write `id-host:port` or `id=host:port`"), "{error}");
    }
    let long = format!("n0={}", "x".repeat(100_000)).parse::<Peers>().unwrap_err();
    assert!(long.to_string().len() < 300, "the error quotes all of a long input");
    let by_hand = Peers::new(vec![peer("n0", "host")]).unwrap_err();
    assert!(by_hand.to_string().contains("n0=host"), "{by_hand}");
}

#[test]
fn an_address_that_comes_too_early_for_the_own_id_is_refused() {
    let error = Peers::parse_for("n0-h:1", &id("broker-0")).unwrap_err();
    assert!(matches!(error, PeersError::Malformed { .. }), "{error:?}");
    assert!(error.to_string().contains("own id broker-0 holds 1 dashes"), "{error}");
}

#[test]
fn an_id_that_stands_twice_is_refused() {
    let expected = PeersError::DuplicateId { id: id("n0"), first: "a:1".into(), second: "b:2".into() };
    assert_eq!("n0-a:1;n0-b:2".parse::<Peers>(), Err(expected.clone()));
    assert_eq!(Peers::parse_for("n0=a:1;n0-b:2", &id("n0")), Err(expected.clone()));
    assert_eq!(Peers::new(vec![peer("n0", "a:1"), peer("n0", "b:2")]), Err(expected.clone()));
    assert!(expected.to_string().contains("give every peer an id of its own"));
}

#[test]
fn an_address_that_stands_twice_is_refused_in_any_spelling() {
    let error = "n0-host:1;n1-HOST:01".parse::<Peers>().unwrap_err();
    let expected = PeersError::DuplicateAddress { address: "HOST:1".into(), first: id("n0"), second: id("n1") };
    assert_eq!(error, expected);
    assert!(matches!("n0=[::1]:1;n1=[0::1]:1".parse::<Peers>(), Err(PeersError::DuplicateAddress { .. })));
    assert!(error.to_string().contains("HOST:1 stands for both n0 and n1"), "{error}");
}

#[test]
fn an_own_id_that_is_not_listed_is_refused_with_the_list_as_it_was_read() {
    let error = Peers::parse_for("n0-a:1;n1-b:2", &id("n2")).unwrap_err();
    assert_eq!(error, PeersError::OwnIdMissing { id: id("n2"), peers: "n0=a:1;n1=b:2".into() });
    assert!(error.to_string().contains("add it or correct the id"), "{error}");
    // The wrong id also splits the others wrongly: what is reported is the cause.
    let error = Peers::parse_for("broker-0-a:1;broker-1-b:2", &id("n0")).unwrap_err();
    assert_eq!(error, PeersError::OwnIdMissing { id: id("n0"), peers: "broker=0-a:1;broker=1-b:2".into() });
    assert!(Peers::new(vec![peer("n0", "a:1")]).unwrap().require(&id("n0")).is_ok());
}

#[test]
fn a_list_answers_what_formation_asks() {
    let peers = Peers::new(vec![peer("n2", "c:3"), peer("n0", "a:1"), peer("n1", "b:2")]).unwrap();
    assert_eq!((peers.len(), peers.is_empty()), (3, false));
    assert_eq!(peers.lowest(), Some(&peer("n0", "a:1")));
    assert_eq!(peers.get(&id("n1")), Some(&peer("n1", "b:2")));
    assert_eq!(peers.get(&id("n9")), None);
    assert_eq!(peers.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["n2", "n0", "n1"]);
    assert_eq!((Peers::default().lowest(), Peers::default().is_empty()), (None, true));
}

/// Ids with the same number of dashes, as the dash spelling needs; hosts with any number.
fn lists() -> impl Strategy<Value = Vec<Peer>> {
    let host = "[a-z][a-z0-9-]{0,8}(\\.[a-z][a-z0-9-]{0,8}){0,2}|10\\.0\\.[0-9]\\.[0-9]|\\[fe80::[1-9a-f]{1,4}\\]";
    let ids = (0..3usize).prop_flat_map(|dashes| {
        let id = format!("[a-z][a-z0-9]{{0,4}}(-[a-z0-9]{{1,4}}){{{dashes}}}");
        proptest::collection::btree_set(proptest::string::string_regex(&id).unwrap(), 1..6)
    });
    (ids, proptest::collection::btree_map(1..=u16::MAX, host, 6)).prop_map(|(ids, addresses)| {
        let addresses = addresses.into_iter().map(|(port, host)| format!("{host}:{port}"));
        ids.iter().zip(addresses).map(|(name, address)| peer(name, &address)).collect()
    })
}

proptest! {
    #[test]
    fn a_list_survives_both_spellings(list in lists(), separator in "[;,] ?", trailing: bool, which: usize) {
        let own = list[which % list.len()].id.clone();
        let peers = Peers::new(list.clone()).unwrap();
        prop_assert_eq!(peers.to_string().parse::<Peers>().unwrap(), peers.clone());
        for equals in [true, false] {
            let sign = if equals { '=' } else { '-' };
            let spelt: Vec<_> = list.iter().map(|p| format!("{}{sign}{}", p.id, p.address)).collect();
            let text = spelt.join(&separator) + if trailing { &separator } else { "" };
            prop_assert_eq!(&Peers::parse_for(&text, &own).unwrap(), &peers, "{}", text);
            if equals {
                prop_assert_eq!(&text.parse::<Peers>().unwrap(), &peers, "{}", text);
            }
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(
        text in "\\PC*|[a-c0-9:;,=\\-\\[\\]. ]{0,60}",
        own in "[a-c]{1,3}(-[a-c]{1,2}){0,2}",
    ) {
        let own = id(&own);
        for read in [text.parse::<Peers>(), Peers::parse_for(&text, &own)] {
            match read {
                // Whatever was accepted is spelt so that it reads back the same.
                Ok(peers) => prop_assert_eq!(peers.to_string().parse::<Peers>().unwrap(), peers),
                Err(error) => prop_assert!(error.to_string().len() < 2000 + 4 * text.len()),
            }
        }
    }
}
