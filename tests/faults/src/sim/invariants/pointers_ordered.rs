//! first <= committed <= end and durable <= end; first and committed never fall in one life.

use super::{Invariant, Moment};

pub(super) struct PointersOrdered;

impl Invariant for PointersOrdered {
    fn check(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let view = moment.view;
        let ordered = view.first <= view.committed.index
            && view.committed.index <= view.end
            && view.durable <= view.end
            && view.committed.number <= view.numbers.end.max(view.numbers.start);
        if !ordered {
            return Err("the pointers are out of order".into());
        }
        match moment.before.filter(|before| before.start == view.start) {
            Some(before) if before.committed.number > view.committed.number => {
                Err(format!("the commit point fell from {:?}", before.committed))
            }
            Some(before) if before.first > view.first => Err(format!("the first index fell from {}", before.first)),
            _ => Ok(()),
        }
    }
}
