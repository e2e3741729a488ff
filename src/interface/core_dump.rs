//! No core dumps: the program holds passwords and keys in memory, and a dump would put them into a file, or into the hands of
//! whoever collects dumps on the control host.

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

/// From now on the process leaves no core dump, and other processes of its user may not read its memory (prctl(2),
/// `PR_SET_DUMPABLE`). After whatever opens `/proc/self/mem`, which belongs to root from then on.
pub(super) fn forbid() {
    // Where the kernel knows neither, nothing is lost but this protection.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = prctl::set_dumpable(false);
}

#[cfg(test)]
mod tests {
    use nix::sys::resource::getrlimit;

    use super::*;

    #[test]
    fn a_process_that_forbids_it_leaves_no_dump() {
        forbid();
        assert_eq!(getrlimit(Resource::RLIMIT_CORE), Ok((0, 0)));
        assert_eq!(prctl::get_dumpable(), Ok(false));
    }
}
