//! A registry that the site runs itself (Harbor, Nexus), which the nodes of the cluster pull from: its address, the authority
//! of its certificate and a login, kept in the document `site-registry` and, what is secret, beside the keys.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::flow::error::FlowError;
use crate::flow::pki::Pki;
use crate::flow::problem::Problem;
use crate::flow::request::SiteRegistrySettings;
use crate::flow::scene::{Asked, Flow, Scene, Seen};
use crate::flow::state::Environment;
use crate::host::{Secret, Target};
use crate::plan::{Made, Plan, RunReport, StepError};
use crate::registry::{self, Client, Login, RegistryError};

use super::served::Served;

const DOCUMENT: &str = "site-registry";
/// The folder of what the site gave, in that of the keys.
const FOLDER: &str = "site-registry";

/// Where it is, and how nodes get in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRegistry {
    /// `HOST[:PORT]`
    pub address: String,
    /// What stands before upstream's names there, such as a project of Harbor.
    pub prefix: String,
    /// The file that the authority was read from.
    pub ca_file: Option<Utf8PathBuf>,
    pub user: Option<String>,
    /// Read in this run; an earlier run's are kept.
    #[serde(skip)]
    ca: Option<Secret>,
    #[serde(skip)]
    password: Option<Secret>,
}

impl SiteRegistry {
    /// The environment's; `None` when nodes know none.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn load(environment: &Environment) -> Result<Option<Self>, FlowError> {
        environment.load(DOCUMENT)
    }

    /// As an interface names it.
    fn read(settings: &SiteRegistrySettings) -> Result<Self, FlowError> {
        let ca = settings.ca_file.as_ref().map(|path| {
            std::fs::read_to_string(path).map(Secret::new).map_err(|e| FlowError::request(format!("{path}: {e}")))
        });
        Ok(Self {
            address: settings.place.address.clone(),
            prefix: settings.place.prefix.clone(),
            ca_file: settings.ca_file.clone(),
            user: settings.user.clone(),
            ca: ca.transpose()?,
            password: settings.password.clone(),
        })
    }

    /// The file on the control host with the authority of its certificate, where one was given.
    pub fn authority_file(&self, environment: &Environment) -> Option<Utf8PathBuf> {
        self.ca_file.as_ref().map(|_| environment.pki().given_file(FOLDER, "ca.crt"))
    }

    fn password(&self, pki: &Pki) -> Arc<dyn Made> {
        pki.given(FOLDER, "password", self.password.clone())
    }

    /// What nodes must know of it.
    pub(super) fn served(&self, pki: &Pki) -> Served {
        let login =
            |user: &String| Arc::new(SiteLogin { user: user.clone(), password: self.password(pki) }) as Arc<dyn Made>;
        Served {
            names: [self.address.clone()].into(),
            address: self.address.clone(),
            prefix: self.prefix.clone(),
            ca: self.ca_file.as_ref().map(|_| pki.given(FOLDER, "ca.crt", self.ca.clone())),
            login: self.user.as_ref().map(login),
        }
    }

    /// Asks it, as nodes will.
    fn answers(&self, pki: &Pki) -> Result<(), RegistryError> {
        let password = self.password(pki).content().map_err(|e| RegistryError::Given(e.to_string()))?;
        let login = self.user.clone().zip(password).map(|(user, password)| Login { user, password });
        let (address, ca) = (self.address.clone(), self.ca_file.clone().filter(|path| path.exists()));
        Client::new(registry::Registry { address, plain_http: false, ca, login })?.answers()
    }
}

/// The login, from the user's name and the password.
#[derive(Debug)]
struct SiteLogin {
    user: String,
    password: Arc<dyn Made>,
}

impl Made for SiteLogin {
    fn name(&self) -> String {
        format!("the login of {} ({})", self.user, self.password.name())
    }

    fn content(&self) -> Result<Option<Secret>, StepError> {
        let basic = |password: Secret| Secret::new(STANDARD.encode(format!("{}:{}", self.user, password.expose())));
        Ok(self.password.content()?.map(basic))
    }

    fn missing(&self) -> Result<Vec<String>, StepError> {
        self.password.missing()
    }

    fn make(&self) -> Result<(), StepError> {
        self.password.make()
    }
}

/// What an operation plans: the site's registry, or that nodes are to know of none.
#[derive(Debug, Clone)]
pub(crate) struct Site(pub Option<SiteRegistry>);

/// Lets the cluster's nodes know of the site's registry, or forget it. What changes on them is the cluster's operation.
#[derive(Debug)]
pub struct Use {
    settings: Option<SiteRegistrySettings>,
    after: Option<SiteRegistry>,
}

impl Use {
    pub fn new(settings: Option<SiteRegistrySettings>) -> Self {
        Self { settings, after: None }
    }
}

impl Flow for Use {
    fn title(&self) -> String {
        match &self.settings {
            Some(settings) => format!("use the site's registry {}", settings.place.address),
            None => "use no registry of the site".to_owned(),
        }
    }

    fn check_request(&mut self, asked: &Asked<'_>) -> Result<Vec<Problem>, FlowError> {
        let Some(settings) = &self.settings else { return Ok(Vec::new()) };
        let site = SiteRegistry::read(settings)?;
        let known = SiteRegistry::load(asked.environment)?;
        if site.user.is_some() && site.password.is_none() && known.is_none_or(|known| known.user != site.user) {
            let user = site.user.as_deref().unwrap_or_default();
            return Err(FlowError::request_with_help(
                format!("the user {user} of the site's registry has no password yet"),
                "name its file with siteRegistry.passwordFile, or a variable with passwordEnv",
            ));
        }
        let mut problems = Vec::new();
        if let Err(error) = site.answers(&asked.environment.pki()) {
            let help =
                "nodes will not be able to pull from it either, unless they reach it where the control host does not";
            problems.push(Problem::warning(None, error.to_string(), Some(help.to_owned())));
        }
        self.after = Some(site);
        Ok(problems)
    }

    fn targets(&self) -> Vec<Target> {
        Vec::new()
    }

    fn observe(&mut self, _: &Scene<'_>, seen: &mut Seen<'_>) -> Result<(), FlowError> {
        seen.site_registry = Some(Site(self.after.clone()));
        Ok(())
    }

    fn plan(&mut self, seen: &mut Seen<'_>) -> Result<Plan, FlowError> {
        seen.site_registry = Some(Site(self.after.clone()));
        Ok(Plan::default())
    }

    fn keep(&self, environment: &Environment) -> Result<(), FlowError> {
        match &self.after {
            Some(site) => environment.save(DOCUMENT, site),
            None => environment.forget(DOCUMENT),
        }
    }

    fn finish(&mut self, _: &Scene<'_>, _: &RunReport) -> Result<Vec<String>, FlowError> {
        Ok(Vec::new())
    }
}
