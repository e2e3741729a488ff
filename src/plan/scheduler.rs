//! Decides which step runs when, and runs them on a bounded pool of threads.
//!
//! [`Board`] knows where every step stands. A step counts the edges that still lead to it; when the last of them is gone
//! it is ready. A step that ends badly blocks its successors and theirs: they are walked once, and each keeps the step
//! that is the cause. So a whole run costs a constant time for each edge, and for each step that of a priority queue.
//! [`drive`] is the pool: `forks` threads take ready steps, the one that stands first in the plan before the others.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::context::Interrupt;
use super::graph::Graph;

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not begun; after a run it was interrupted before this step.
    Waiting,
    Running,
    Good,
    Bad,
    /// Never to be tried, because of the step named here.
    Blocked(usize),
}

/// Where every step stands.
#[derive(Debug)]
pub(super) struct Board<'g> {
    graph: &'g Graph,
    state: Vec<State>,
    /// For each step, how many of its edges have not been passed.
    waits: Vec<usize>,
    /// Steps that may start; the one that stands first in the plan is the first to come out.
    ready: BinaryHeap<Reverse<usize>>,
    running: usize,
}

/// What the end of a step brought about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    /// How many steps became ready.
    ready: usize,
    /// Steps that are never to be tried now, in the plan's order.
    pub(super) blocked: Vec<usize>,
}

impl<'g> Board<'g> {
    pub(super) fn new(graph: &'g Graph) -> Self {
        let waits = graph.waits().to_vec();
        let ready = (0..graph.len()).filter(|&i| waits[i] == 0).map(Reverse).collect();
        Self { graph, state: vec![State::Waiting; graph.len()], waits, ready, running: 0 }
    }

    /// The next step to start, marked as running.
    pub(super) fn start(&mut self) -> Option<usize> {
        let Reverse(step) = self.ready.pop()?;
        self.state[step] = State::Running;
        self.running += 1;
        Some(step)
    }

    /// Records that a running step has ended.
    pub(super) fn end(&mut self, step: usize, good: bool) -> Ended {
        self.running -= 1;
        if !good {
            self.state[step] = State::Bad;
            return Ended { ready: 0, blocked: self.block(step) };
        }
        self.state[step] = State::Good;
        let mut ready = 0;
        for &next in self.graph.successors(step) {
            self.waits[next] -= 1;
            if self.waits[next] == 0 {
                self.ready.push(Reverse(next));
                ready += 1;
            }
        }
        Ended { ready, blocked: Vec::new() }
    }

    /// Marks everything that can never start because of `cause`. A step that waits has a predecessor that did not end
    /// well yet, so none of them is ready or running.
    fn block(&mut self, cause: usize) -> Vec<usize> {
        let (mut blocked, mut walk) = (Vec::new(), vec![cause]);
        while let Some(step) = walk.pop() {
            for &next in self.graph.successors(step) {
                if self.state[next] == State::Waiting {
                    self.state[next] = State::Blocked(cause);
                    blocked.push(next);
                    walk.push(next);
                }
            }
        }
        blocked.sort_unstable();
        blocked
    }

    pub(super) fn state(&self, step: usize) -> State {
        self.state[step]
    }

    /// Every step ended well.
    pub(super) fn is_good(&self) -> bool {
        self.state.iter().all(|&state| state == State::Good)
    }
}

/// What is done with steps, by their position in the plan.
pub(super) trait Runner: Sync {
    /// Runs a step; whether it ended well.
    fn run(&self, step: usize) -> bool;
    /// A step that is not tried, because `cause` ended badly.
    fn blocked(&self, step: usize, cause: usize);
}

struct Pool<'a, 'g> {
    board: Mutex<Board<'g>>,
    /// A step may be ready, or all is over.
    news: Condvar,
    interrupt: &'a Interrupt,
    runner: &'a dyn Runner,
}

/// Runs every step of `graph` that can be run, `forks` of them at once; where each stands at the end.
pub(super) fn drive<'g>(graph: &'g Graph, forks: usize, interrupt: &Interrupt, runner: &dyn Runner) -> Board<'g> {
    let pool = Pool { board: Mutex::new(Board::new(graph)), news: Condvar::new(), interrupt, runner };
    // A lane runs one step at a time: more threads than lanes would have nothing to do. The caller's own thread is one.
    let others = forks.min(graph.lanes()).saturating_sub(1);
    thread::scope(|scope| {
        for number in 1..=others {
            let name = format!("step-{number}");
            if let Err(error) = thread::Builder::new().name(name).spawn_scoped(scope, || pool.work()) {
                tracing::warn!(%error, "only {number} of {} threads could be started; the run is slower", others + 1);
                break;
            }
        }
        pool.work();
    });
    pool.board.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl<'g> Pool<'_, 'g> {
    fn work(&self) {
        while let Some(step) = self.take() {
            let good = self.runner.run(step);
            let ended = self.lock().end(step, good);
            // This thread takes one of them itself.
            for _ in 1..ended.ready {
                self.news.notify_one();
            }
            for blocked in ended.blocked {
                self.runner.blocked(blocked, step);
            }
        }
        // Whoever finds that all is over wakes those who wait for more.
        self.news.notify_all();
    }

    /// Waits for a step that may start; `None` when there will be none.
    fn take(&self) -> Option<usize> {
        let mut board = self.lock();
        loop {
            if self.interrupt.is_set() {
                return None;
            }
            if let Some(step) = board.start() {
                return Some(step);
            }
            if board.running == 0 {
                return None;
            }
            board = self.news.wait(board).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Board<'g>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
