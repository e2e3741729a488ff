//! What is asked of EC2, checked as far as that goes without asking AWS.

use sha2::{Digest, Sha256};

/// Which EC2, and as whom. What is not given is found as the AWS tools find it: environment, profile, instance role.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Access {
    pub region: Option<String>,
    /// A section of `~/.aws/config` and `~/.aws/credentials`.
    pub profile: Option<String>,
    /// Another address than AWS's own: a private endpoint, a compatible cloud, an emulator.
    pub endpoint: Option<String>,
}

/// Instances to make.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Ec2Create {
    pub image: String,
    /// The key pair whose private half opens the instances.
    pub key_name: String,
    pub min: u16,
    pub max: u16,
    pub instance_type: String,
    pub subnet: Option<String>,
    /// By their ids.
    pub security_groups: Vec<String>,
    /// GiB; `None` for the image's own size.
    pub root_disk: Option<u32>,
    /// The tag `Name`; `None` for the environment's.
    pub name: Option<String>,
    pub tags: Vec<(String, String)>,
    #[serde(skip)]
    pub access: Access,
}

/// The environment's instances, all of them, to terminate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ec2Terminate {
    pub access: Access,
}

/// What a node of Kubernetes needs at the least: two processors and 4 GiB.
pub const INSTANCE_TYPE: &str = "t3.medium";
/// More than this in one request is a slip of the finger.
const MOST: u16 = 1000;
/// AWS's own limit is 50 tags; five of them are ours.
const TAGS: usize = 45;

impl Ec2Create {
    /// A request for `image` with nothing else chosen.
    pub fn new(image: String, key_name: String) -> Self {
        Self {
            image,
            key_name,
            min: 1,
            max: 1,
            instance_type: INSTANCE_TYPE.to_owned(),
            subnet: None,
            security_groups: Vec::new(),
            root_disk: None,
            name: None,
            tags: Vec::new(),
            access: Access::default(),
        }
    }

    /// Looks at everything that can be wrong in itself.
    ///
    /// # Errors
    /// The parameter's name in AWS's spelling, and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        id("ImageId", &self.image, "ami-")?;
        plain("key name", &self.key_name, 255)?;
        plain("InstanceType", &self.instance_type, 64)?;
        if !self.instance_type.contains('.') {
            return Err((
                "InstanceType",
                format!("{:?} is no instance type such as {INSTANCE_TYPE}", self.instance_type),
            ));
        }
        if self.min == 0 {
            return Err(("MinCount", "at least 1 is wanted".to_owned()));
        }
        if self.max < self.min {
            return Err(("MaxCount", format!("{} is less than MinCount, {}", self.max, self.min)));
        }
        if self.max > MOST {
            return Err(("MaxCount", format!("{} at once are too many: {MOST} at most", self.max)));
        }
        if let Some(subnet) = &self.subnet {
            id("SubnetId", subnet, "subnet-")?;
        }
        for group in &self.security_groups {
            id("SecurityGroupIds", group, "sg-")?;
        }
        if self.root_disk.is_some_and(|gib| !(1..=65_536).contains(&gib)) {
            return Err(("root disk", "1 to 65536 GiB".to_owned()));
        }
        if let Some(name) = &self.name {
            plain("Name", name, 255)?;
        }
        self.check_tags()?;
        self.access.check()
    }

    fn check_tags(&self) -> Result<(), (&'static str, String)> {
        if self.tags.len() > TAGS {
            return Err(("tag", format!("{} are too many: {TAGS} at most", self.tags.len())));
        }
        for (i, (key, value)) in self.tags.iter().enumerate() {
            if key.is_empty() || key.chars().count() > 127 || value.chars().count() > 255 {
                return Err(("tag", format!("{key:?}: a key is 1 to 127 characters, a value at most 255")));
            }
            if key.starts_with("aws:") || key.starts_with("sunshine-installer:") {
                return Err(("tag", format!("{key:?}: keys that begin so are not free to use")));
            }
            if key == "Name" || self.tags[..i].iter().any(|(other, _)| other == key) {
                return Err(("tag", format!("{key:?} is given twice, or is Name, which has an option of its own")));
            }
        }
        Ok(())
    }

    /// Stands for what is asked for, in this region: the same request has the same.
    pub(super) fn fingerprint(&self, region: &str) -> String {
        let mut request = self.clone();
        request.security_groups.sort();
        request.tags.sort();
        // A struct of strings and numbers always becomes JSON.
        let text = serde_json::to_string(&request).unwrap_or_default();
        hex::encode(Sha256::digest(format!("{region}\n{text}")))
    }

    /// "5 EC2 instances", "3 to 5 EC2 instances".
    pub(super) fn count(&self) -> String {
        match (self.min, self.max) {
            (1, 1) => "1 EC2 instance".to_owned(),
            (min, max) if min == max => format!("{min} EC2 instances"),
            (min, max) => format!("{min} to {max} EC2 instances"),
        }
    }
}

impl Access {
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        if let Some(region) = &self.region {
            let fits = region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            if !fits || region.is_empty() || region.len() > 63 {
                return Err(("Region", format!("{region:?} is no region such as eu-central-1")));
            }
        }
        if let Some(endpoint) = &self.endpoint
            && !["http://", "https://"]
                .iter()
                .any(|head| endpoint.strip_prefix(head).is_some_and(|rest| !rest.is_empty()))
        {
            return Err(("endpoint", format!("{endpoint:?} is no address that begins with http:// or https://")));
        }
        Ok(())
    }
}

fn id(name: &'static str, text: &str, head: &str) -> Result<(), (&'static str, String)> {
    let fits = text
        .strip_prefix(head)
        .is_some_and(|rest| (1..=64).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_alphanumeric()));
    if fits { Ok(()) } else { Err((name, format!("{text:?} is no id such as {head}0123456789abcdef0"))) }
}

fn plain(name: &'static str, text: &str, most: usize) -> Result<(), (&'static str, String)> {
    if text.trim().is_empty() {
        return Err((name, "it is empty".to_owned()));
    }
    if text.chars().count() > most || text.chars().any(char::is_control) {
        return Err((name, format!("{text:?} is longer than {most} characters or holds control characters")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Ec2Create {
        Ec2Create::new("ami-0abc".to_owned(), "ops".to_owned())
    }

    #[test]
    fn what_is_wrong_is_named_in_aws_s_words() {
        request().check().unwrap();
        type Change = fn(&mut Ec2Create);
        let wrong: [(&str, Change); 10] = [
            ("ImageId", |r| r.image = "centos".into()),
            ("ImageId", |r| r.image = "ami-; reboot".into()),
            ("key name", |r| r.key_name = " ".into()),
            ("InstanceType", |r| r.instance_type = "large".into()),
            ("MinCount", |r| r.min = 0),
            ("MaxCount", |r| r.min = 2),
            ("SubnetId", |r| r.subnet = Some("vpc-1".into())),
            ("SecurityGroupIds", |r| r.security_groups = vec!["default".into()]),
            ("tag", |r| r.tags = vec![("sunshine-installer:owner".into(), "me".into())]),
            ("Region", |r| r.access.region = Some("eu_central".into())),
        ];
        for (name, change) in wrong {
            let mut request = request();
            change(&mut request);
            assert_eq!(request.check().unwrap_err().0, name);
        }
    }

    #[test]
    fn the_same_request_has_the_same_fingerprint_and_another_has_another() {
        let mut one = request();
        one.security_groups = vec!["sg-2".into(), "sg-1".into()];
        let mut other = one.clone();
        other.security_groups.reverse();
        other.access.profile = Some("night".into());
        assert_eq!(one.fingerprint("eu-west-1"), other.fingerprint("eu-west-1"));
        assert_ne!(one.fingerprint("eu-west-1"), one.fingerprint("eu-west-2"));
        other.max = 2;
        assert_ne!(one.fingerprint("eu-west-1"), other.fingerprint("eu-west-1"));
    }
}
