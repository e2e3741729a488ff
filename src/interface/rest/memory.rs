//! The logins of the tasks that this listener accepted, in memory and by environment: types 3 and 4 name only the hosts
//! that come or go, and their work reaches others too. They end with the listener or with their environment; on disk
//! they are only sealed, with `--keep-credentials`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::interface::login::{Login, Secrets};

/// Logins by environment. Nothing of it is printed: its secrets show as stars, and are wiped when they are dropped.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<HashMap<String, (Login, Secrets)>>);

impl Memory {
    /// Remembers what a task was accepted with, in the place of what was remembered before.
    pub(crate) fn keep(&self, environment: &str, login: &Login, secrets: &Secrets) {
        self.lock().insert(environment.to_owned(), (login.clone(), secrets.clone()));
    }

    /// Adds the passwords remembered to what is kept of an environment. What was kept since then counts: a host that is
    /// logged in to by another user or port now is another login, and a sealed password is at least as new.
    pub(crate) fn complete(&self, environment: &str, login: &Login, secrets: &mut Secrets) {
        let all = self.lock();
        let Some((known, remembered)) = all.get(environment) else { return };
        for (host, password) in &remembered.passwords {
            if matches!((login.hosts.get(host), known.hosts.get(host)), (Some(now), Some(then)) if now.is_same(then)) {
                secrets.passwords.entry(host.clone()).or_insert_with(|| password.clone());
            }
        }
        if secrets.sudo.is_none() {
            secrets.sudo.clone_from(&remembered.sudo);
        }
    }

    /// Forgets an environment.
    pub(crate) fn forget(&self, environment: &str) {
        self.lock().remove(environment);
    }

    /// Forgets everything: the listener ends.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Login, Secrets)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Secret, Target, TargetDefaults};
    use crate::interface::login::learn;

    fn learnt(host: &str) -> (Login, Secrets) {
        let (mut login, mut secrets) = (Login::default(), Secrets::default());
        learn(&mut login, &mut secrets, &[Target::parse(host, &TargetDefaults::default()).unwrap()]);
        (login, secrets)
    }

    /// The password that is at hand when the store has the login of `now`.
    fn password(memory: &Memory, environment: &str, now: &str) -> Option<String> {
        let (login, mut secrets) = learnt(now);
        memory.complete(environment, &login, &mut secrets);
        secrets.passwords.into_values().next().map(|p| p.expose().to_owned())
    }

    #[test]
    fn a_password_is_remembered_for_its_login_until_the_environment_or_the_listener_ends() {
        let memory = Memory::default();
        let (login, mut secrets) = learnt("m:geheim@10.8.14.200:2222");
        secrets.sudo = Some(Secret::new("s"));
        memory.keep("e", &login, &secrets);
        assert_eq!(password(&memory, "e", "m@10.8.14.200:2222").as_deref(), Some("geheim"));
        assert_eq!(password(&memory, "e", "m:new@10.8.14.200:2222").as_deref(), Some("new"), "sealed since");
        for other in ["root@10.8.14.200:2222", "m@10.8.14.200", "m@10.8.14.201:2222"] {
            assert_eq!(password(&memory, "e", other), None, "{other}");
        }
        assert_eq!(password(&memory, "another", "m@10.8.14.200:2222"), None);
        let mut found = Secrets::default();
        memory.complete("e", &login, &mut found);
        assert_eq!(found, secrets);
        assert!(!format!("{memory:?}").contains("geheim"));

        memory.keep("f", &login, &secrets);
        memory.forget("e");
        assert_eq!(password(&memory, "e", "m@10.8.14.200:2222"), None);
        memory.clear();
        assert_eq!(password(&memory, "f", "m@10.8.14.200:2222"), None);
    }
}
