//! A scenario as data: what is done, what goes wrong with whom, and when.

use std::fmt;
use std::time::Duration;

/// What kind of cluster the flow is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Etcd,
    /// Kubernetes as services of systemd, in the predecessor's layout.
    Systemd,
    Kubeadm,
}

/// What is done to it, in the order in which one cluster goes through all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verb {
    Create,
    Replace,
    Add,
    Renew,
    Remove,
    Reset,
}

impl Verb {
    pub(super) const ALL: [Self; 6] = [Self::Create, Self::Replace, Self::Add, Self::Renew, Self::Remove, Self::Reset];
}

/// A signal to the deployer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Kill,
    Interrupt,
    Terminate,
    Hangup,
}

impl Signal {
    /// The name that kill(1) takes.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Interrupt => "INT",
            Self::Terminate => "TERM",
            Self::Hangup => "HUP",
        }
    }
}

/// What a target that means harm does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hostile {
    /// Prints without end at every login.
    Endless,
    /// Sends escape sequences and lines that look like the log's, wherever it names itself.
    Escapes,
    /// Tells impossible facts about itself.
    Lies,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Deployer(Signal),
    /// The disk with the control host's state is full.
    ControlDiskFull,
    /// Bytes of the bundle change while it is in use.
    BundleDamaged,
    /// The same line once more, with the same state or from another control host.
    Second {
        same_state: bool,
    },
    PowerCut,
    Reboot,
    Frozen,
    Cut,
    /// Nothing that the host sends arrives.
    Mute,
    /// The host cannot connect to the control host; the other way works.
    NoWayBack,
    DiskFull,
    ReadOnly,
    WrongClock,
    PackageLock,
    SshdCrash,
    SudoWithdrawn,
    DnsSilent,
    /// A member does not start any more.
    CorruptWal,
    Hostile(Hostile),
}

impl Fault {
    /// Whether the run is what it happens to, and no host.
    pub(super) fn of_the_control_host(self) -> bool {
        matches!(self, Self::Deployer(_) | Self::ControlDiskFull | Self::BundleDamaged | Self::Second { .. })
    }
}

/// When it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    /// When so many steps have begun.
    Step(usize),
}

/// How long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lasting {
    /// Until the run has ended.
    Run,
    For(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scenario {
    pub(super) kind: Kind,
    pub(super) verb: Verb,
    pub(super) fault: Fault,
    /// Which of the hosts that the flow is about it happens to.
    pub(super) victim: usize,
    pub(super) moment: Moment,
    pub(super) lasting: Lasting,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}, {:?}", self.kind, self.verb, self.fault)?;
        if !self.fault.of_the_control_host() {
            write!(f, " of host {}", self.victim)?;
        }
        match self.moment {
            Moment::Before => write!(f, " before the run")?,
            Moment::Step(n) => write!(f, " at step {n}")?,
        }
        match self.lasting {
            Lasting::Run => Ok(()),
            Lasting::For(time) => write!(f, " for {} s", time.as_secs()),
        }
    }
}
