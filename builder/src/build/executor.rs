//! Realises a plan: in parallel, skipping what the store has.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::sync::{Condvar, Mutex, MutexGuard};

use crate::base::{Fault, Result};
use crate::plan::{LabelledStep, Output, Plan, StepId};

/// Whether a step was built or taken from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepResult {
    /// The store had it.
    Cached,
    /// It was made now.
    Built,
}

/// Executes steps and caches their outputs.
pub trait Executor: Sync {
    /// Returns the recorded output of a step, if its bytes are still there.
    fn recall(&self, id: StepId) -> Result<Option<Output>>;

    /// Makes a step's output from its inputs' outputs and records it.
    fn make(&self, id: StepId, planned: &LabelledStep, inputs: &BTreeMap<StepId, Output>) -> Result<Output>;

    /// Notes how many steps are to be made, before the first one; for progress.
    fn expect(&self, _steps: usize) {}

    /// Notes that a step is about to be made or is done; for progress.
    fn report(&self, _planned: &LabelledStep, _done: bool) {}
}

/// Outputs of all steps that the goals need, and whether each was built.
pub type BuildResults = BTreeMap<StepId, (Output, StepResult)>;

/// Realises the plan's goals with `jobs` workers. What no goal needs is not touched: an input whose
/// every user is in the store already is not asked for. The first fault stops new work and is returned.
pub fn build(plan: &Plan, executor: &dyn Executor, jobs: NonZero<usize>) -> Result<BuildResults> {
    let (kept, missing) = survey(plan, executor)?;
    executor.expect(missing.len());
    let scheduler = Scheduler {
        state: Mutex::new(Queue {
            built: kept,
            ready: BTreeSet::new(),
            waiting: missing,
            busy: 0,
            fault: None,
        }),
        changed: Condvar::new(),
    };
    scheduler.lock().promote(plan);
    std::thread::scope(|scope| {
        for _ in 0..jobs.get() {
            scope.spawn(|| scheduler.work(plan, executor));
        }
    });
    let state = scheduler.state.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    match state.fault {
        Some(fault) => Err(fault),
        None => Ok(state.built),
    }
}

/// Walks from the goals down and stops at cached steps: returns these, and the steps that must be made.
pub fn survey(plan: &Plan, executor: &dyn Executor) -> Result<(BuildResults, BTreeSet<StepId>)> {
    let (mut kept, mut missing) = (BuildResults::new(), BTreeSet::new());
    let mut open: Vec<StepId> = plan.goals().collect();
    while let Some(id) = open.pop() {
        if kept.contains_key(&id) || missing.contains(&id) {
            continue;
        }
        match executor.recall(id)? {
            Some(output) => {
                kept.insert(id, (output, StepResult::Cached));
            }
            None => {
                missing.insert(id);
                open.extend(planned(plan, &id)?.step.inputs());
            }
        }
    }
    Ok((kept, missing))
}

fn planned<'a>(plan: &'a Plan, id: &StepId) -> Result<&'a LabelledStep> {
    plan.get(id).ok_or_else(|| Fault::bug(format!("step {id} is not in the plan")))
}

struct Queue {
    built: BuildResults,
    ready: BTreeSet<(usize, StepId)>,
    waiting: BTreeSet<StepId>,
    busy: usize,
    fault: Option<Fault>,
}

impl Queue {
    /// Moves what waits for nothing any more to the ready ones, in the plan's order.
    fn promote(&mut self, plan: &Plan) {
        for (place, (id, planned)) in plan.iter().enumerate() {
            let needs = || planned.step.inputs().into_iter().all(|input| self.built.contains_key(&input));
            if self.waiting.contains(&id) && needs() {
                self.waiting.remove(&id);
                self.ready.insert((place, id));
            }
        }
    }
}

struct Scheduler {
    state: Mutex<Queue>,
    changed: Condvar,
}

impl Scheduler {
    /// A worker that panicked has left no half state behind: outputs are recorded whole.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn work(&self, plan: &Plan, executor: &dyn Executor) {
        while let Some((id, inputs)) = self.take(plan) {
            let made = planned(plan, &id).and_then(|planned| {
                executor.report(planned, false);
                let made =
                    executor.make(id, planned, &inputs).map_err(|fault| fault.context(&planned.label))?;
                executor.report(planned, true);
                Ok(made)
            });
            let mut state = self.lock();
            state.busy -= 1;
            match made {
                Ok(output) => {
                    state.built.insert(id, (output, StepResult::Built));
                    state.promote(plan);
                }
                Err(fault) => {
                    state.fault.get_or_insert(fault);
                }
            }
            self.changed.notify_all();
        }
    }

    /// The next step and its inputs' outputs; `None` when there is nothing left to do.
    fn take(&self, plan: &Plan) -> Option<(StepId, BTreeMap<StepId, Output>)> {
        let mut state = self.lock();
        loop {
            if state.fault.is_some() {
                return None;
            }
            if let Some((_, id)) = state.ready.pop_first() {
                state.busy += 1;
                let inputs = plan.get(&id).map(|planned| planned.step.inputs()).unwrap_or_default();
                let output = |input: StepId| Some((input, state.built.get(&input)?.0));
                return Some((id, inputs.into_iter().filter_map(output).collect()));
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;
    use crate::plan::{FilesStep, UnpackStep};

    /// Makes blobs named after their step, and counts.
    #[derive(Default)]
    struct FakeExecutor {
        has: Mutex<BTreeMap<StepId, Output>>,
        made: Mutex<Vec<String>>,
        refuses: Option<&'static str>,
    }

    impl Executor for FakeExecutor {
        fn recall(&self, id: StepId) -> Result<Option<Output>> {
            Ok(self.has.lock().unwrap().get(&id).copied())
        }

        fn make(
            &self,
            id: StepId,
            planned: &LabelledStep,
            inputs: &BTreeMap<StepId, Output>,
        ) -> Result<Output> {
            assert_eq!(inputs.len(), planned.step.inputs().len(), "inputs come first");
            if self.refuses == Some(planned.label.as_str()) {
                return Err(Fault::remote("gone"));
            }
            let output = Output::Tree { tree: id.0 };
            self.has.lock().unwrap().insert(id, output);
            self.made.lock().unwrap().push(planned.label.clone());
            Ok(output)
        }
    }

    /// `files` -> three unpacked -> each again; the last ones are wanted.
    fn plan() -> Plan {
        let mut plan = Plan::new();
        for name in ["a", "b", "c"] {
            let files = plan.add(format!("files {name}"), FilesStep { tree: Digest::of(name) }).unwrap();
            let once = plan.add(format!("once {name}"), UnpackStep { deb: files }).unwrap();
            let twice = plan.add(format!("twice {name}"), UnpackStep { deb: once }).unwrap();
            plan.want(twice);
        }
        plan
    }

    #[test]
    fn all_is_made_once_and_then_nothing() {
        for jobs in [1, 2, 16] {
            let (executor, jobs) = (FakeExecutor::default(), NonZero::new(jobs).unwrap());
            let built = build(&plan(), &executor, jobs).unwrap();
            assert!(built.len() == 9 && built.values().all(|(_, way)| *way == StepResult::Built));
            let again = build(&plan(), &executor, jobs).unwrap();
            assert!(again.len() == 3 && again.values().all(|(_, way)| *way == StepResult::Cached));
            assert_eq!(executor.made.lock().unwrap().len(), 9);
        }
    }

    #[test]
    fn a_fault_stops_the_build_and_names_the_step() {
        let executor = FakeExecutor { refuses: Some("once b"), ..FakeExecutor::default() };
        let fault = build(&plan(), &executor, NonZero::new(2).unwrap()).unwrap_err();
        assert_eq!(fault.what(), "once b: gone");
        assert!(!executor.made.lock().unwrap().contains(&"twice b".to_owned()));
    }

    #[test]
    fn what_no_goal_needs_is_not_asked_for() {
        let (mut plan, executor) =
            (plan(), FakeExecutor { refuses: Some("files lonely"), ..FakeExecutor::default() });
        plan.add("files lonely", FilesStep { tree: Digest::of("lonely") }).unwrap();
        build(&plan, &executor, NonZero::new(2).unwrap()).unwrap();
    }
}
