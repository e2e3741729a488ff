//! The edges of a plan, resolved: which step waits for which.
//!
//! In flow a [`Plan`], whose steps name what they wait for; out flows a [`Graph`] of positions in it, or the reason why
//! the plan cannot be run. A step waits for the step before it in its own lane (its host, or the control host) and for
//! those it names. All of it costs a constant time for each step and each edge.

use std::collections::HashMap;

use super::error::PlanError;
use super::step::{Edge, Plan, StepId};

/// Who waits for whom, by the steps' positions in the plan.
#[derive(Debug)]
pub(super) struct Graph {
    lane_of: Vec<usize>,
    lanes: usize,
    /// The successors of step `i` are `successors[first[i]..first[i + 1]]`.
    first: Vec<usize>,
    successors: Vec<usize>,
    /// How many edges lead to each step.
    waits: Vec<usize>,
}

impl Graph {
    /// Resolves the edges of `plan`.
    ///
    /// # Errors
    /// When an identifier stands twice, a step waits for one that is not in the plan, or steps wait for each other.
    pub(super) fn resolve(plan: &Plan) -> Result<Self, PlanError> {
        let index = index(plan)?;
        let mut lane_numbers: HashMap<Option<&str>, usize> = HashMap::new();
        let mut last_of_lane: Vec<Option<usize>> = Vec::new();
        let mut lane_of = Vec::with_capacity(plan.steps.len());
        let mut edges: Vec<(usize, usize)> = Vec::with_capacity(plan.steps.len());
        for (at, step) in plan.steps.iter().enumerate() {
            let lane = *lane_numbers.entry(step.host.as_deref()).or_insert(last_of_lane.len());
            if lane == last_of_lane.len() {
                last_of_lane.push(None);
            }
            lane_of.push(lane);
            edges.extend(last_of_lane[lane].replace(at).map(|before| (before, at)));
            for edge in &step.after {
                match (index.get(edge.id()), edge) {
                    (Some(&before), _) => edges.push((before, at)),
                    (None, Edge::AfterIfPresent(_)) => {}
                    (None, Edge::After(id)) => {
                        return Err(PlanError::Unresolved { step: step.id.clone(), after: id.clone() });
                    }
                }
            }
        }
        let graph = Self::from_edges(lane_of, last_of_lane.len(), &edges);
        graph.check_cycles(plan)?;
        Ok(graph)
    }

    fn from_edges(lane_of: Vec<usize>, lanes: usize, edges: &[(usize, usize)]) -> Self {
        let steps = lane_of.len();
        let (mut first, mut waits) = (vec![0; steps + 1], vec![0; steps]);
        for &(before, at) in edges {
            first[before + 1] += 1;
            waits[at] += 1;
        }
        for i in 0..steps {
            first[i + 1] += first[i];
        }
        let (mut free, mut successors) = (first.clone(), vec![0; edges.len()]);
        for &(before, at) in edges {
            successors[free[before]] = at;
            free[before] += 1;
        }
        Self { lane_of, lanes, first, successors, waits }
    }

    pub(super) fn len(&self) -> usize {
        self.lane_of.len()
    }

    /// How many hosts have steps, the control host among them.
    pub(super) fn lanes(&self) -> usize {
        self.lanes
    }

    /// The number of the lane that a step belongs to.
    pub(super) fn lane_of(&self, step: usize) -> usize {
        self.lane_of[step]
    }

    /// The steps that wait for this one; one that waits twice stands twice.
    pub(super) fn successors(&self, step: usize) -> &[usize] {
        &self.successors[self.first[step]..self.first[step + 1]]
    }

    /// For each step, how many times it stands among the successors of others.
    pub(super) fn waits(&self) -> &[usize] {
        &self.waits
    }

    /// Takes away, again and again, what waits for nothing: what is left waits for itself.
    fn check_cycles(&self, plan: &Plan) -> Result<(), PlanError> {
        let mut waits = self.waits.clone();
        let mut free: Vec<usize> = (0..self.len()).filter(|&i| waits[i] == 0).collect();
        let mut left = self.len();
        while let Some(step) = free.pop() {
            left -= 1;
            for &next in self.successors(step) {
                waits[next] -= 1;
                if waits[next] == 0 {
                    free.push(next);
                }
            }
        }
        if left == 0 {
            return Ok(());
        }
        Err(PlanError::Cycle { steps: self.one_cycle(&waits).map(|i| plan.steps[i].id.clone()).collect() })
    }

    /// One cycle among the steps that still wait: every one of them has a predecessor that waits too.
    fn one_cycle(&self, waits: &[usize]) -> impl Iterator<Item = usize> {
        let mut before: HashMap<usize, usize> = HashMap::new();
        for step in (0..self.len()).filter(|&i| waits[i] > 0) {
            before.extend(self.successors(step).iter().map(|&next| (next, step)));
        }
        let mut seen: HashMap<usize, usize> = HashMap::new();
        let mut path = Vec::new();
        let mut at = (0..self.len()).find(|&i| waits[i] > 0);
        while let Some(step) = at.filter(|step| !seen.contains_key(step)) {
            seen.insert(step, path.len());
            path.push(step);
            at = before.get(&step).copied();
        }
        let begin = at.and_then(|step| seen.get(&step).copied()).unwrap_or(0);
        path.into_iter().skip(begin).rev()
    }
}

fn index(plan: &Plan) -> Result<HashMap<&StepId, usize>, PlanError> {
    let mut index = HashMap::with_capacity(plan.steps.len());
    for (at, step) in plan.steps.iter().enumerate() {
        if index.insert(&step.id, at).is_some() {
            return Err(PlanError::Twice { step: step.id.clone() });
        }
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::super::step::tests::Nothing;
    use super::super::step::{Plan, Step};
    use super::*;

    fn step(host: &str, what: &str) -> Step {
        Step::on(&host.into(), what, what, Nothing)
    }

    fn resolve(steps: impl IntoIterator<Item = Step>) -> Result<Graph, String> {
        let plan = Plan { steps: steps.into_iter().collect() };
        Graph::resolve(&plan).map_err(|e| e.to_string())
    }

    #[test]
    fn a_lane_is_a_chain_and_named_steps_are_edges_too() {
        let graph = resolve([
            step("a", "1"),
            step("b", "1"),
            step("a", "2"),
            step("b", "2").after([StepId::on(&"a".into(), "1")]),
            Step::control("1", "1", Nothing).after([StepId::on(&"b".into(), "2")]),
        ])
        .unwrap();
        assert_eq!((graph.len(), graph.lanes()), (5, 3));
        assert_eq!(graph.successors(0), [2, 3]);
        assert_eq!(graph.successors(1), [3]);
        assert_eq!(graph.successors(3), [4]);
        assert_eq!(graph.waits(), [0, 0, 1, 2, 1]);
        assert_eq!(graph.lane_of(0), graph.lane_of(2));
        assert_ne!(graph.lane_of(0), graph.lane_of(4));
    }

    #[test]
    fn a_step_that_waits_for_one_that_is_not_there_is_an_error_that_names_both() {
        let error = resolve([step("a", "start").after([StepId::on(&"b".into(), "answers")])]).unwrap_err();
        assert_eq!(error, "step a/start waits for b/answers, which is not in the plan");
    }

    #[test]
    fn a_step_that_may_be_left_out_is_waited_for_when_it_is_there() {
        let wait = || step("a", "start").after_if_present([StepId::on(&"b".into(), "answers")]);
        assert_eq!(resolve([wait()]).unwrap().waits(), [0]);
        assert_eq!(resolve([wait(), step("b", "answers")]).unwrap().waits(), [1, 0]);
    }

    #[test]
    fn a_step_twice_is_an_error() {
        let error = resolve([step("a", "start"), step("b", "start"), step("a", "start")]).unwrap_err();
        assert_eq!(error, "step a/start stands twice in the plan");
    }

    #[test]
    fn steps_that_wait_for_each_other_are_an_error_that_names_them() {
        let error = resolve([
            step("z", "0").after([StepId::on(&"b".into(), "1")]),
            step("a", "1").after([StepId::on(&"b".into(), "2")]),
            step("b", "1"),
            step("b", "2").after([StepId::on(&"a".into(), "1")]),
        ])
        .unwrap_err();
        assert_eq!(error, "steps wait for each other: b/2, a/1");
        let error = resolve([step("a", "1").after([StepId::on(&"a".into(), "1")])]).unwrap_err();
        assert_eq!(error, "steps wait for each other: a/1");
        let error = resolve([step("a", "1").after([StepId::on(&"a".into(), "2")]), step("a", "2")]).unwrap_err();
        assert!(error.contains("a/1") && error.contains("a/2"), "{error}");
    }
}
