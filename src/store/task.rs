//! What is kept of a run, as values.

use serde::Serialize;
use serde_json::Value;

/// What a task does, by the contract's `environment_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What the contract has no number for: certificates renewed, hosts restored.
    Other = 0,
    Create = 1,
    Add = 3,
    Remove = 4,
    Ec2 = 5,
}

impl Kind {
    /// The contract's number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The kind with this number; 2, the status, is no task.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Other, Self::Create, Self::Add, Self::Remove, Self::Ec2]
            .into_iter()
            .find(|kind| i64::from(kind.number()) == number)
    }

    /// `environment_err` of a task of this kind that failed.
    pub fn error_number(self) -> i64 {
        match self {
            Self::Other | Self::Create => 1,
            Self::Add => 2,
            Self::Remove => 3,
            Self::Ec2 => 4,
        }
    }
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    Running,
    /// It reached its end and everything is verified.
    Finished,
    /// It failed, was interrupted, or its process is gone.
    Stop,
}

impl TaskStatus {
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Stop => "stop",
        }
    }

    pub(super) fn from_word(word: &str) -> Self {
        match word {
            "running" => Self::Running,
            "finished" => Self::Finished,
            _ => Self::Stop,
        }
    }
}

/// What is known of a task before it begins.
#[derive(Debug, Clone)]
pub struct NewTask {
    pub kind: Kind,
    /// The request without its secrets.
    pub params: Value,
}

/// A run, going on or over.
#[derive(Debug, Clone, Serialize)]
pub struct Task {
    pub id: i64,
    pub environment: String,
    #[serde(skip)]
    pub kind: Kind,
    /// The contract's `environment_type`; 0 for what it has no number for.
    pub environment_type: u8,
    /// "create the etcd cluster; create the Kubernetes cluster"
    pub title: String,
    pub params: Value,
    pub status: TaskStatus,
    /// 0.0 to 100.0, never falling; 100.0 only when all is verified.
    pub progress: f64,
    /// What is being done where, or how it ended.
    pub desc: String,
    /// What a task of type 5 made.
    pub made: Option<Value>,
    /// The contract's `environment_err`.
    pub err: i64,
    pub started: String,
    /// When something of it last changed.
    pub updated: String,
    pub steps: i64,
    pub steps_done: i64,
    pub failure: Option<TaskFailure>,
    pub hosts: Vec<TaskHost>,
}

/// The step that failed, in the operator's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct TaskFailure {
    pub host: Option<String>,
    pub step: Option<String>,
    /// With the command, its exit status and last lines where a command failed.
    pub error: String,
    pub help: Option<String>,
}

/// One host of a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskHost {
    pub host: String,
    /// waiting, running, ok, failed, unreachable, blocked or untouched.
    pub state: String,
    /// The step it is at, or was at last.
    pub step: String,
    pub progress: f64,
}

/// One environment of the list.
#[derive(Debug, Clone, Serialize)]
pub struct EnvironmentRow {
    pub id: String,
    pub created: String,
    /// Its newest task.
    pub task: Option<Task>,
}

/// An event as it was kept.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    pub id: i64,
    pub task: i64,
    /// The event's JSON.
    pub json: String,
}
