//! Counts what is wrong: what was acknowledged against what is consumed.

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;

use crate::client::Delivery;
use crate::proto::Message;

/// What one producer was told of one message.
pub struct Sent {
    pub topic: &'static str,
    pub body: Bytes,
    pub delivery: Delivery,
}

/// One topic as one consumer saw it. All but `twice` must be 0.
#[derive(Default)]
pub struct Verdict {
    /// Acknowledged, and not at its offset.
    pub lost: usize,
    /// Messages whose offset is not the one after the last.
    pub gaps: usize,
    /// Acknowledged later than another of the same producer, and before it in the topic.
    pub disordered: usize,
    /// Never acknowledged, and not explained by an unknown outcome.
    pub foreign: usize,
    /// Left behind by an attempt with unknown outcome, and produced again.
    pub twice: usize,
}

impl Verdict {
    /// `producers`: what each sent, in its order.
    pub fn of(topic: &str, producers: &[Vec<Sent>], consumed: &[Message]) -> Self {
        let gaps = (0..).zip(consumed).filter(|(offset, message)| message.offset != *offset).count();
        let mut verdict = Self { gaps, ..Self::default() };
        let mut rest: HashMap<u64, &Bytes> = consumed.iter().map(|message| (message.offset, &message.body)).collect();
        let mut may_be_twice: HashMap<&Bytes, u64> = HashMap::new();
        for sent in producers {
            let sent: Vec<&Sent> = sent.iter().filter(|sent| sent.topic == topic).collect();
            let offset = |sent: &Sent| sent.delivery.offset;
            verdict.disordered += sent.windows(2).filter(|pair| offset(pair[0]) >= offset(pair[1])).count();
            for sent in sent {
                if rest.remove(&offset(sent)) != Some(&sent.body) {
                    verdict.lost += 1;
                }
                *may_be_twice.entry(&sent.body).or_default() += sent.delivery.unknown;
            }
        }
        for body in rest.into_values() {
            match may_be_twice.get_mut(body) {
                Some(times) if *times > 0 => {
                    *times -= 1;
                    verdict.twice += 1;
                }
                _ => verdict.foreign += 1,
            }
        }
        verdict
    }

    pub fn is_good(&self) -> bool {
        self.lost + self.gaps + self.disordered + self.foreign == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lost, gaps, disordered, foreign, twice } = self;
        write!(f, "lost {lost}, gaps {gaps}, out of order {disordered}, foreign {foreign}, twice {twice}")
    }
}
