//! SELinux booleans.

use crate::host::Command;
use crate::plan::{Check, Cx, Owned, StepError, Work};

use super::kind::Kind;
use super::record::recording;

/// A boolean: `off`, as it was.
pub(super) const BOOLEAN: Kind = Kind {
    name: "sebool",
    plural: "SELinux boolean(s)",
    undo: r#"undo_sebool() { setsebool -P "$1" "$2" 2>/dev/null || :; }
"#,
    alone: Some(|name| format!("set SELinux boolean {name} off")),
};

/// A boolean that is on, now and after a restart. The lab's hosts have no SELinux: this is not tried there.
#[derive(Debug)]
pub struct SeBool(pub &'static str);

const IS_ON: &str = r#"getsebool "$1" 2>/dev/null | grep -q -- '--> on$'"#;
const SET: &str = r#"set -eu
note sebool "$1" off
setsebool -P "$1" on"#;

impl Work for SeBool {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let on = cx.host()?.run(&Command::script(IS_ON).arg(self.0).label("getsebool"))?.ok();
        Ok(if on { Check::Satisfied } else { Check::Needed(vec![format!("set SELinux boolean {}", self.0)]) })
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        cx.host()?.run_ok(&recording(cx.owner()?, SET).arg(self.0).label("setsebool -P"))?;
        Ok(())
    }

    fn owns(&self) -> Vec<Owned> {
        vec![BOOLEAN.owned(self.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::trial::Trial;

    #[test]
    fn a_boolean_is_set_and_set_back() {
        Trial::each(|trial| {
            trial.program("getsebool", r#"echo "$1 --> $(cat "${at}bool")""#);
            trial.program("setsebool", r#"echo "$3" >"${at}bool""#);
            trial.write("bool", "off\n");
            assert!(!trial.look(IS_ON, &["haproxy_connect_any"]).ok);
            assert!(trial.change(SET, &["haproxy_connect_any"]).ok);
            assert!(trial.look(IS_ON, &["haproxy_connect_any"]).ok);
            assert!(trial.undo(&["some", "sebool", "haproxy_connect_any"]).ok);
            assert_eq!((trial.read("bool").as_str(), trial.recorded().len()), ("off\n", 0));
        });
    }
}
