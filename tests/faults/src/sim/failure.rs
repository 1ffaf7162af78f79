//! A law that was broken, and how to see it again.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// A simulation that broke a law.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{family}: seed {seed} failed: {law}\nrun it again: {replay}")]
pub struct Failure {
    /// Whose seed.
    pub family: &'static str,
    /// What determines all of it.
    pub seed: u64,
    /// Which law, and what was found instead.
    pub law: String,
    /// The command that runs it again.
    pub replay: String,
}

thread_local! {
    /// The panics of this thread since somebody began to listen.
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// What `simulate` gives back, or the panics in it. A panic in a task of a node stays inside the task: it does not go
/// unnoticed.
pub(crate) fn caught<T>(simulate: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let listening = PANICS.with_borrow_mut(|panics| match panics {
                Some(panics) => {
                    panics.push(panic.to_string());
                    true
                }
                None => false,
            });
            if !listening {
                report(panic);
            }
        }));
    });
    PANICS.set(Some(Vec::new()));
    let outcome = catch_unwind(AssertUnwindSafe(simulate));
    let panics = PANICS.take().unwrap_or_default();
    match outcome {
        Ok(outcome) if panics.is_empty() => Ok(outcome),
        Ok(_) => Err(panics.join("\n")),
        Err(panic) if panics.is_empty() => Err(text(&*panic)),
        Err(_) => Err(panics.join("\n")),
    }
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_a_task_does_not_go_unnoticed() {
        let run = |fails: bool| {
            caught(|| {
                dledger_sim::run(1, async move {
                    drop(dledger_sim::spawn(async move { assert!(!fails, "the law of the test") }));
                    dledger_sim::pass(std::time::Duration::from_millis(1)).await;
                });
            })
        };
        run(false).unwrap();
        let law = run(true).unwrap_err();
        assert!(law.contains("the law of the test") && law.contains("failure.rs"), "{law}");
    }
}
