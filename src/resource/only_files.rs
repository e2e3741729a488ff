//! Files that are all of this product's in some folders: what an earlier run wrote there and is wanted no more goes, and so do
//! other things that an earlier run made and that are named.

use std::sync::Arc;

use crate::plan::{Check, Cx, Made, Owned, StepError, Work};

use super::files::Files;
use super::kept::FILE;
use super::record::{NOBODYS, Record};
use super::undo::Undo;

/// These files, and within these folders no other that this product has written. Files of the site stay.
#[derive(Debug, Clone)]
pub struct OnlyFiles {
    pub files: Files,
    /// Folders, or single files, that an earlier run may have written.
    pub within: &'static [&'static str],
    /// What an earlier run may have made and is not wanted, in the order in which it goes.
    pub without: Vec<Owned>,
}

impl OnlyFiles {
    /// What goes: recorded, and not wanted.
    fn leftover(&self, record: &Record) -> Vec<Owned> {
        let is_within = |path: &str| {
            self.within
                .iter()
                .any(|place| path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
        };
        let recorded = record.names(FILE.name).map(|line| line.name.as_str());
        let leftover = recorded.filter(|path| is_within(path) && self.files.0.iter().all(|file| file.path != *path));
        let is_recorded = |owned: &&Owned| record.names(owned.kind).any(|line| line.name == owned.name);
        let unwanted = self.without.iter().filter(is_recorded).cloned();
        unwanted.chain(leftover.map(|path| FILE.owned(path))).collect()
    }

    /// Of this environment, and of a version that did not write down for whom it worked.
    fn undo(&self, cx: &Cx<'_>) -> Result<Option<Undo>, StepError> {
        let also = vec![NOBODYS.to_owned()];
        let environments = [&[cx.owner()?.environment.clone()], also.as_slice()].concat();
        let owned = self.leftover(&Record::read(cx.host()?)?.of(&environments));
        Ok((!owned.is_empty()).then_some(Undo::Some { owned, also }))
    }
}

impl Work for OnlyFiles {
    fn check(&self, cx: &Cx<'_>) -> Result<Check, StepError> {
        let mut changes = match self.files.check(cx)? {
            Check::Satisfied => Vec::new(),
            Check::Needed(changes) => changes,
        };
        if let Some(undo) = self.undo(cx)?
            && let Check::Needed(more) = undo.check(cx)?
        {
            changes.extend(more);
        }
        Ok(Check::from_changes(changes))
    }

    fn apply(&self, cx: &Cx<'_>) -> Result<(), StepError> {
        if let Some(undo) = self.undo(cx)? {
            undo.apply(cx)?;
        }
        self.files.apply(cx)
    }

    fn needs(&self) -> Vec<Arc<dyn Made>> {
        Work::needs(&self.files)
    }

    fn owns(&self) -> Vec<Owned> {
        self.files.owns()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::FileSpec;
    use crate::resource::unit::UNIT;

    #[test]
    fn what_is_recorded_within_and_not_wanted_goes() {
        let lines = ["/d/a/hosts.toml", "/d/b/hosts.toml", "/dd/c", "/f.json", "/f.json.new", "/etc/x"];
        let lines = lines.map(|path| format!("file\t{path}\t-\n")).concat();
        let record = Record::parse(&(lines + "unit\tx.service\tdisabled/inactive\n"));
        let files = Files(vec![FileSpec::text("/d/a/hosts.toml", "x")]);
        let without = ["x.service", "y.service"].map(|name| UNIT.owned(name)).to_vec();
        let only = OnlyFiles { files, within: &["/d", "/f.json"], without };
        let gone: Vec<String> = only.leftover(&record).into_iter().map(|owned| owned.name).collect();
        assert_eq!(gone, ["x.service", "/f.json", "/d/b/hosts.toml"]);
    }
}
