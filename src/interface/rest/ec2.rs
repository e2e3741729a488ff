//! Type 5's parameters, by the names of the contract.

use utoipa::ToSchema;

use crate::flow::ec2::{Access, Ec2Create};

use super::body::{WRONG, given};

/// Parameters of type 5
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ec2Params {
    /// The image
    #[serde(rename = "ImageId")]
    #[schema(pattern = "^ami-[A-Za-z0-9]{1,64}$", example = "ami-0123456789abcdef0")]
    image: String,
    /// The key pair whose private half opens the instances
    #[serde(rename = "certificate_Name")]
    #[schema(min_length = 1, max_length = 255)]
    key_name: String,
    /// How many at the least; 1 without it
    #[serde(rename = "MinCount", default, deserialize_with = "given")]
    #[schema(minimum = 1, maximum = 1000, nullable = false)]
    min: Option<u16>,
    /// How many at the most; as many as MinCount without it
    #[serde(rename = "MaxCount", default, deserialize_with = "given")]
    #[schema(minimum = 1, maximum = 1000, nullable = false)]
    max: Option<u16>,
    /// EC2 is all there is
    #[serde(default)]
    #[allow(dead_code, reason = "its one value says nothing")]
    node_type: NodeType,
    /// t3.medium without it
    #[serde(rename = "InstanceType", default, deserialize_with = "given")]
    #[schema(max_length = 64, nullable = false)]
    instance_type: Option<String>,
    /// The region's own without it
    #[serde(rename = "SubnetId", default, deserialize_with = "given")]
    #[schema(pattern = "^subnet-[A-Za-z0-9]{1,64}$", nullable = false)]
    subnet: Option<String>,
    /// The network's own without it
    #[serde(rename = "SecurityGroupIds", default)]
    security_groups: Vec<String>,
    /// That of the listener's machine without it
    #[serde(rename = "Region", default, deserialize_with = "given")]
    #[schema(pattern = "^[a-z0-9-]{1,63}$", nullable = false)]
    region: Option<String>,
}

#[derive(Debug, Default, serde::Deserialize, ToSchema)]
enum NodeType {
    #[default]
    #[serde(rename = "EC2")]
    Ec2,
}

impl Ec2Params {
    /// The request, as the other interfaces make it.
    pub(super) fn request(self) -> Result<Ec2Create, String> {
        let min = self.min.unwrap_or(1);
        let mut request = Ec2Create::new(self.image, self.key_name);
        request.min = min;
        request.max = self.max.unwrap_or(min);
        if let Some(instance_type) = self.instance_type {
            request.instance_type = instance_type;
        }
        request.subnet = self.subnet;
        request.security_groups = self.security_groups;
        request.access = Access { region: self.region, ..Access::default() };
        let contract_name = |name| if name == "key name" { "certificate_Name" } else { name };
        request.check().map_err(|(name, why)| format!("{WRONG}: {}: {why}", contract_name(name)))?;
        Ok(request)
    }
}
