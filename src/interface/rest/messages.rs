//! The messages of the contract (section 3) as types: what `/openapi.json` describes is generated from these.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::store::{EnvironmentRow, Kind, Task, TaskStatus, now};

/// Every answer to a task's call, errors included.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Message {
    /// 1 create a cluster, 2 service status, 3 add nodes, 4 delete nodes, 5 create EC2 hosts; 0 when the request named none
    #[schema(minimum = 0, maximum = 5)]
    pub(crate) environment_type: u8,
    /// The request's parameters, without secrets
    #[schema(value_type = Object)]
    pub(crate) environment_params: Value,
    /// Never falls; 100.0 only when everything is verified
    #[schema(minimum = 0.0, maximum = 100.0)]
    pub(crate) environment_progress: f64,
    pub(crate) environment_status: Status,
    /// False when the task was refused or has failed
    pub(crate) environment_result: bool,
    pub(crate) environment_desc: Description,
    /// YYYY-MM-DD HH:MM:SS, local time
    #[schema(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$")]
    pub(crate) environment_time: String,
    /// 0 when nothing is wrong
    #[schema(minimum = 0)]
    pub(crate) environment_err: i64,
}

/// Where a task stands
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Running,
    Finished,
    Stop,
}

/// A sentence; for types 2 and 5 an object
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Description {
    Text(String),
    #[schema(value_type = Object)]
    Object(Value),
}

/// Type 2's answer: every key in both of the spellings that its users know
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct StatusMessage {
    #[serde(flatten)]
    message: Message,
    #[serde(rename = "environment__type")]
    other_type: u8,
    #[schema(value_type = Object)]
    #[serde(rename = "environment__params")]
    other_params: Value,
    #[serde(rename = "environment__progress")]
    other_progress: f64,
    #[serde(rename = "environment__status")]
    other_status: Status,
    #[serde(rename = "environment__result")]
    other_result: bool,
    #[serde(rename = "environment__desc")]
    other_desc: Description,
    #[serde(rename = "environment__time")]
    other_time: String,
    #[serde(rename = "environment__err")]
    other_err: i64,
}

impl From<Message> for StatusMessage {
    fn from(message: Message) -> Self {
        Self {
            other_type: message.environment_type,
            other_params: message.environment_params.clone(),
            other_progress: message.environment_progress,
            other_status: message.environment_status,
            other_result: message.environment_result,
            other_desc: message.environment_desc.clone(),
            other_time: message.environment_time.clone(),
            other_err: message.environment_err,
            message,
        }
    }
}

impl Message {
    /// A task that has just been accepted.
    pub(crate) fn started(kind: Kind, params: Value) -> Self {
        Self {
            environment_type: kind.number(),
            environment_params: params,
            environment_progress: 0.0,
            environment_status: Status::Running,
            environment_result: true,
            environment_desc: Description::Text("started".to_owned()),
            environment_time: now(),
            environment_err: 0,
        }
    }

    /// A request that is answered with no.
    pub(crate) fn refused(environment_type: u8, why: impl Into<String>) -> Self {
        Self {
            environment_type,
            environment_params: json!({}),
            environment_progress: 0.0,
            environment_status: Status::Stop,
            environment_result: false,
            environment_desc: Description::Text(why.into()),
            environment_time: now(),
            environment_err: 1,
        }
    }

    /// Something that was asked for beside the tasks, and done.
    pub(crate) fn done(what: String) -> Self {
        let mut message = Self::refused(0, what);
        message.environment_status = Status::Finished;
        message.environment_result = true;
        message.environment_err = 0;
        message
    }

    /// What the live cluster says, or why it does not.
    pub(crate) fn status(answer: Result<Value, String>) -> Self {
        let (result, desc, err) = match answer {
            Ok(value) => (true, value, 0),
            Err(why) => (false, json!({"nodestatus": {}, "componentstatus": {}, "error": why}), 1),
        };
        Self {
            environment_type: 2,
            environment_params: json!({}),
            environment_progress: if result { 100.0 } else { 0.0 },
            environment_status: if result { Status::Finished } else { Status::Stop },
            environment_result: result,
            environment_desc: Description::Object(desc),
            environment_time: now(),
            environment_err: err,
        }
    }
}

impl From<&Task> for Message {
    fn from(task: &Task) -> Self {
        let desc = match (&task.made, task.kind) {
            (Some(made), _) => Description::Object(made.clone()),
            (None, _) => Description::Text(task.desc.clone()),
        };
        Self {
            environment_type: task.environment_type,
            environment_params: task.params.clone(),
            environment_progress: task.progress,
            environment_status: task.status.into(),
            environment_result: task.err == 0,
            environment_desc: desc,
            environment_time: task.updated.clone(),
            environment_err: task.err,
        }
    }
}

impl From<TaskStatus> for Status {
    fn from(status: TaskStatus) -> Self {
        match status {
            TaskStatus::Running => Self::Running,
            TaskStatus::Finished => Self::Finished,
            TaskStatus::Stop => Self::Stop,
        }
    }
}

/// GET `/environments`
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct EnvironmentList {
    pub(crate) environments: Vec<EnvironmentInfo>,
}

/// One environment, with what it does or did last
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct EnvironmentInfo {
    pub(crate) id: String,
    pub(crate) created: String,
    pub(crate) task: Option<TaskInfo>,
}

impl From<EnvironmentRow> for EnvironmentInfo {
    fn from(row: EnvironmentRow) -> Self {
        Self { id: row.id, created: row.created, task: row.task.as_ref().map(TaskInfo::from) }
    }
}

/// GET `/environments/{id}`
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct EnvironmentTasks {
    pub(crate) id: String,
    /// A Kubernetes cluster was made here: type 2 can be asked
    pub(crate) cluster: bool,
    /// The newest first
    pub(crate) tasks: Vec<TaskInfo>,
}

/// A task in full: the contract's fields, and those beyond it
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TaskInfo {
    #[serde(flatten)]
    message: Message,
    /// Counts up over all environments
    task: i64,
    /// What is done, in words
    title: String,
    started: String,
    steps: i64,
    steps_done: i64,
    /// The step that failed first
    failure: Option<FailureInfo>,
    hosts: Vec<HostInfo>,
}

/// Why a task failed
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FailureInfo {
    host: Option<String>,
    step: Option<String>,
    /// With the command, its exit status and its last lines, where a command failed
    error: String,
    /// What can be done about it
    help: Option<String>,
}

/// A host of a task
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct HostInfo {
    host: String,
    /// waiting, running, ok, failed, unreachable, blocked, untouched or stopped
    state: String,
    /// Where it is, or was last
    step: String,
    progress: f64,
}

impl From<&Task> for TaskInfo {
    fn from(task: &Task) -> Self {
        let host = |h: &crate::store::TaskHost| HostInfo {
            host: h.host.clone(),
            state: h.state.clone(),
            step: h.step.clone(),
            progress: h.progress,
        };
        Self {
            message: task.into(),
            task: task.id,
            title: task.title.clone(),
            started: task.started.clone(),
            steps: task.steps,
            steps_done: task.steps_done,
            failure: task.failure.as_ref().map(|f| FailureInfo {
                host: f.host.clone(),
                step: f.step.clone(),
                error: f.error.clone(),
                help: f.help.clone(),
            }),
            hosts: task.hosts.iter().map(host).collect(),
        }
    }
}
