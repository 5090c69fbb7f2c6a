//! Waiting: what passes is asked again, until it is there or a limit is over.

use std::time::Duration;

use crate::fault::{Class, Fault, Result};
use crate::kubernetes::context::Node;

/// Between two questions.
const STEP: Duration = Duration::from_secs(5);

/// Asks until there is an answer. A passing fault is none: a time-out says that a machine is slow, and nothing about
/// what was asked. Why there is none yet is told to [`Node::on_wait`].
///
/// `limit` counts the pauses and not the questions: on a machine where each takes long there are as many.
pub fn retry<T>(node: &Node, limit: Duration, question: &dyn Fn() -> Result<T>) -> Result<T> {
    let mut left = limit;
    loop {
        let fault = match question() {
            Err(fault) if fault.class() == Class::Transient => fault,
            decided => return decided,
        };
        let Some(rest) = left.checked_sub(STEP) else {
            return Err(fault.context(format!("not within {limit:?}")));
        };
        left = rest;
        (node.on_wait)(&fault);
        node.host.pause(STEP);
    }
}

/// Asks until the answer is yes; `no` says what a no means.
pub fn wait_until(node: &Node, no: &str, limit: Duration, check: &dyn Fn() -> Result<bool>) -> Result<()> {
    retry(node, limit, &|| if check()? { Ok(()) } else { Err(Fault::transient(no)) })
}
