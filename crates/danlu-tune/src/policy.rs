//! What to do next: start a trial, or go on with a paused one.

mod freeze_thaw;

pub use freeze_thaw::FreezeThaw;

use crate::sampler::Sampler;
use crate::scheduler::{Next, Scheduler, Verdict};
use crate::space::Values;
use crate::trial::State;
use crate::view::View;
use danlu_rng::Stream;

/// The decision for a free worker.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Start a trial with these values.
    Start(Values),
    /// Go on with this paused trial.
    Thaw(u64),
    /// Nothing to do until a running trial reports (other workers have all that is left).
    Wait,
    /// Nothing is left to do: the space is exhausted.
    Stop,
}

/// Decides what a free worker does and how far a trial goes. A policy sees trials only; it knows no store and no
/// objective. It is a pure function of the view's history and the random stream.
pub trait Policy: Send {
    /// What a free worker does next.
    fn next(&mut self, view: &View, rng: &mut Stream) -> Action;
    /// Whether the trial that just reported goes on.
    fn verdict(&mut self, view: &View, number: u64) -> Verdict;
}

impl<P: Policy + ?Sized> Policy for Box<P> {
    fn next(&mut self, view: &View, rng: &mut Stream) -> Action {
        (**self).next(view, rng)
    }
    fn verdict(&mut self, view: &View, number: u64) -> Verdict {
        (**self).verdict(view, number)
    }
}

/// A sampler and a scheduler that know nothing of one another.
pub struct Pair<A, B> {
    /// Chooses values.
    pub sampler: A,
    /// Chooses how long.
    pub scheduler: B,
}

impl<A: Sampler, B: Scheduler> Policy for Pair<A, B> {
    fn next(&mut self, view: &View, rng: &mut Stream) -> Action {
        match self.scheduler.next(view) {
            Next::Thaw(number) => Action::Thaw(number),
            Next::Start => match self.sampler.sample(view, rng) {
                Some(values) => Action::Start(values),
                None => match self.scheduler.leftover(view) {
                    Some(number) => Action::Thaw(number),
                    None if [State::Running, State::Released]
                        .iter()
                        .all(|&s| view.in_state(s).is_empty()) =>
                    {
                        Action::Stop
                    }
                    None => Action::Wait,
                },
            },
        }
    }

    fn verdict(&mut self, view: &View, number: u64) -> Verdict {
        self.scheduler.verdict(view, number)
    }
}
