//! The laws of the table that is drawn again and again.

use dledger::ClientError;

use super::*;

fn peers(text: &str) -> Peers {
    text.parse().unwrap()
}

#[test]
fn an_interval_has_a_unit_and_bounds() {
    assert_eq!(interval("2s"), Ok(Duration::from_secs(2)));
    assert_eq!(interval("10ms"), Ok(SHORTEST));
    for wrong in ["9ms", "25h", "0s", "2", "soon"] {
        assert!(interval(wrong).unwrap_err().contains("2s"), "{wrong}");
    }
}

#[test]
fn a_rate_is_between_two_answers_of_a_node() {
    let (n0, n1, start) = (NodeId::new(0), NodeId::new(1), Instant::now());
    let at = |ms| start + Duration::from_millis(ms);
    let mut rates = Rates::default();
    let mut next = |told: [(&NodeId, Option<u64>, Instant); 2]| rates.next(told.into_iter());
    assert_eq!(next([(&n0, Some(100), at(0)), (&n1, None, at(0))]), [None, None]);
    assert_eq!(next([(&n0, Some(350), at(500)), (&n1, Some(350), at(500))]), [Some(500.0), None]);
    // It is down, comes back and knows of less; the other one rests, and is then asked twice at once.
    assert_eq!(next([(&n0, Some(350), at(1500)), (&n1, None, at(1500))]), [Some(0.0), None]);
    assert_eq!(next([(&n0, Some(350), at(1500)), (&n1, Some(300), at(1600))]), [None, None]);
    assert_eq!(next([(&n0, Some(351), at(3500)), (&n1, Some(299), at(2600))]), [Some(0.5), None]);
}

#[test]
fn a_rate_is_as_exact_as_it_is_large() {
    let shown = [None, Some(0.0), Some(0.04), Some(2.26), Some(9.96), Some(123_456.7)].map(per_second);
    assert_eq!(shown, ["-", "0", "0.0", "2.3", "10", "123457"]);
}

#[test]
fn members_that_are_not_among_the_peers_are_shown_behind_them() {
    let named = peers("n1=b:1;n0=a:1");
    let members = peers("n0=elsewhere:1;n2=c:1;n3=b:1");
    let now = with_members(&named, members.iter().cloned()).unwrap();
    // n0 as it was named, and nobody twice.
    assert_eq!(now, peers("n1=b:1;n0=a:1;n2=c:1"));
    assert_eq!(super::members(&[unreachable("n0", "a:1")]), None);
}

fn unreachable(id: &str, address: &str) -> Answer {
    let broken =
        ClientError::Broken { address: address.into(), reason: "connection\nrefused\x1b[2J".into(), reached: false };
    let peer = Peer { id: id.parse().unwrap(), address: address.into() };
    Answer { peer, at: Instant::now(), status: Err(broken), member: None }
}

#[test]
fn a_node_that_is_down_stays_in_the_table() {
    let answers = vec![unreachable("n0", "a:1"), unreachable("n1", "bb:22")];
    let group = "g".parse().unwrap();
    let look = Refresh { group: &group, answers, rates: vec![None, None] };
    let table = look.lines();
    assert_eq!(table[0], "NODE  ADDRESS  ROLE  TERM  MASTER  FIRST  COMMITTED  COMMITTED/S  DURABLE  END");
    assert!(table[1].starts_with("n0    a:1      unreachable (connection"), "{}", table[1]);
    assert!(table[2].starts_with("n1    bb:22    unreachable (connection"), "{}", table[2]);
    let objects = look.objects();
    assert_eq!(objects[1]["node"], "n1");
    assert!(objects[1]["error"].is_string() && objects[1].get("committed_per_second").is_none(), "{objects:?}");
    let frame = Screen { terminal: false, drawn: None }.frame(&table);
    assert_eq!((frame.lines().count(), frame.contains('\x1b')), (3, false), "{frame}");
}

fn lines_of(text: &str) -> Vec<String> {
    text.split(' ').map(String::from).collect()
}

#[test]
fn elsewhere_than_on_a_terminal_tables_are_parted_by_a_line() {
    let mut screen = Screen { terminal: false, drawn: None };
    assert_eq!(screen.frame(&lines_of("a b")), "a\nb\n");
    assert_eq!(screen.frame(&lines_of("c d e")), "\nc\nd\ne\n");
}

#[test]
fn on_a_terminal_a_table_is_drawn_over_the_one_before() {
    let mut screen = Screen { terminal: true, drawn: None };
    assert_eq!(screen.frame(&lines_of("a b")), "\x1b[?7la\x1b[K\nb\x1b[K\n\x1b[J\x1b[?7h");
    assert_eq!(screen.frame(&lines_of("c")), "\x1b[2A\x1b[?7lc\x1b[K\n\x1b[J\x1b[?7h");
    assert!(screen.frame(&lines_of("d e f")).starts_with("\x1b[1A"));
}
