//! EC2 itself, by Amazon's SDK. The only place that names its types.

use std::error::Error;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::config::{ConfigBag, Intercept, ProvideCredentials, RuntimeComponents};
use aws_sdk_ec2::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, Filter, HttpTokensState, InstanceMetadataEndpointState,
    InstanceMetadataOptionsRequest, InstanceType, ResourceType, Tag, TagSpecification,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use jiff::Timestamp;

use super::error::{Answer, Ec2Error, KEYS_HELP, in_words};
use super::instance::Instance;
use super::request::{Access, Ec2Create};

/// Tags of everything that is made.
const ENVIRONMENT: &str = "sunshine-installer:environment";
const OWNER: &str = "sunshine-installer:owner";
const REQUEST: &str = "sunshine-installer:request";

/// What identifies the instances of one environment of one machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark<'a> {
    pub(super) environment: &'a str,
    pub(super) owner: &'a str,
}

/// A connection to EC2 in one region.
#[derive(Debug)]
pub(super) struct Cloud {
    runtime: tokio::runtime::Runtime,
    client: aws_sdk_ec2::Client,
    pub(super) region: String,
    clock: Arc<Clock>,
}

/// How far the control host's clock is ahead of EC2's, by the newest answer; [`i64::MIN`] before any.
#[derive(Debug)]
struct Clock(AtomicI64);

impl Clock {
    fn ahead(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|seconds| *seconds != i64::MIN)
    }

    fn read(&self, date: Option<&str>) {
        if let Some(theirs) = date.and_then(|text| httpdate::parse_http_date(text).ok())
            && let Ok(theirs) = Timestamp::try_from(theirs)
        {
            self.0.store(Timestamp::now().as_second() - theirs.as_second(), Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
struct ReadClock(Arc<Clock>);

impl Intercept for ReadClock {
    fn name(&self) -> &'static str {
        "ReadClock"
    }

    fn read_before_deserialization(
        &self,
        context: &aws_sdk_ec2::config::interceptors::BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.read(context.response().headers().get("date"));
        Ok(())
    }
}

impl Cloud {
    /// Finds region and credentials.
    ///
    /// # Errors
    /// When one of them is nowhere to be found.
    pub(super) fn connect(access: &Access) -> Result<Self, Ec2Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Ec2Error::failed(format!("no runtime: {e}"), "run the same command again"))?;
        let config = runtime.block_on(load(access));
        let region = config.region().map(ToString::to_string).ok_or_else(|| {
            Ec2Error::wrong(
                "no AWS region is named",
                "give --region, AWS_REGION, or a region in the profile of ~/.aws/config",
            )
        })?;
        runtime.block_on(credentials(&config)).map_err(|e| match &access.profile {
            Some(profile) => Ec2Error { text: format!("profile {profile}: {}", e.text), ..e },
            None => e,
        })?;
        let clock = Arc::new(Clock(AtomicI64::new(i64::MIN)));
        let settings = aws_sdk_ec2::config::Builder::from(&config).interceptor(ReadClock(Arc::clone(&clock)));
        let client = aws_sdk_ec2::Client::from_conf(settings.build());
        Ok(Self { runtime, client, region, clock })
    }

    /// Seconds that the control host's clock is ahead of EC2's, once something was asked.
    pub(super) fn clock_ahead(&self) -> Option<i64> {
        self.clock.ahead()
    }

    /// The name of the image's root disk.
    pub(super) fn image(&self, id: &str) -> Result<Option<String>, Ec2Error> {
        let found = self.ask("look at the image", self.client.describe_images().image_ids(id).send())?;
        match found.images().first() {
            Some(image) => Ok(image.root_device_name().map(str::to_owned)),
            None => {
                Err(self.words("look at the image", "InvalidAMIID.NotFound", &format!("the image {id} does not exist")))
            }
        }
    }

    pub(super) fn key_pair(&self, name: &str) -> Result<(), Ec2Error> {
        self.ask("look at the key pair", self.client.describe_key_pairs().key_names(name).send()).map(drop)
    }

    pub(super) fn subnet(&self, id: &str) -> Result<(), Ec2Error> {
        self.ask("look at the subnet", self.client.describe_subnets().subnet_ids(id).send()).map(drop)
    }

    pub(super) fn security_groups(&self, ids: &[String]) -> Result<(), Ec2Error> {
        let call = self.client.describe_security_groups().set_group_ids(Some(ids.to_vec()));
        self.ask("look at the security groups", call.send()).map(drop)
    }

    /// Makes instances; with the token of an earlier call, EC2 answers with those it made then.
    ///
    /// With `rehearse` EC2 only says whether it would.
    pub(super) fn launch(
        &self,
        request: &Ec2Create,
        root: Option<&str>,
        mark: Mark<'_>,
        token: &str,
        rehearse: bool,
    ) -> Result<Vec<Instance>, Ec2Error> {
        let call = self
            .client
            .run_instances()
            .image_id(&request.image)
            .key_name(&request.key_name)
            .min_count(request.min.into())
            .max_count(request.max.into())
            .instance_type(InstanceType::from(request.instance_type.as_str()))
            .set_subnet_id(request.subnet.clone())
            .set_security_group_ids((!request.security_groups.is_empty()).then(|| request.security_groups.clone()))
            .set_block_device_mappings(root.zip(request.root_disk).map(|(name, gib)| vec![disk(name, gib)]))
            .metadata_options(
                InstanceMetadataOptionsRequest::builder()
                    .http_tokens(HttpTokensState::Required)
                    .http_endpoint(InstanceMetadataEndpointState::Enabled)
                    .build(),
            )
            .tag_specifications(tags(ResourceType::Instance, request, mark, token))
            .tag_specifications(tags(ResourceType::Volume, request, mark, token))
            .client_token(token)
            .dry_run(rehearse);
        match self.ask("make instances", call.send()) {
            Ok(made) => Ok(made.instances().iter().map(ours).collect()),
            // How EC2 says that it would have done it.
            Err(e) if rehearse && e.code.as_deref() == Some("DryRunOperation") => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }

    /// The instances with this mark, also those that were terminated lately.
    pub(super) fn instances(&self, mark: Mark<'_>) -> Result<Vec<Instance>, Ec2Error> {
        let filter = |name: &str, value: &str| Filter::builder().name(format!("tag:{name}")).values(value).build();
        let pages = self
            .client
            .describe_instances()
            .filters(filter(ENVIRONMENT, mark.environment))
            .filters(filter(OWNER, mark.owner))
            .into_paginator()
            .items()
            .send();
        let found = self.ask("look for the instances", pages.collect::<Result<Vec<_>, _>>())?;
        Ok(found.iter().flat_map(aws_sdk_ec2::types::Reservation::instances).map(ours).collect())
    }

    /// Of these, the ones whose two checks both passed.
    pub(super) fn checked(&self, ids: &[String]) -> Result<Vec<String>, Ec2Error> {
        let pages =
            self.client.describe_instance_status().set_instance_ids(Some(ids.to_vec())).into_paginator().items();
        let found = self.ask("look at the status checks", pages.send().collect::<Result<Vec<_>, _>>())?;
        let passed = |summary: Option<&aws_sdk_ec2::types::InstanceStatusSummary>| {
            summary.and_then(|s| s.status()).is_some_and(|s| s.as_str() == "ok")
        };
        let both = found.iter().filter(|s| passed(s.system_status()) && passed(s.instance_status()));
        Ok(both.filter_map(|s| s.instance_id().map(str::to_owned)).collect())
    }

    pub(super) fn terminate(&self, ids: &[String]) -> Result<(), Ec2Error> {
        let call = self.client.terminate_instances().set_instance_ids(Some(ids.to_vec()));
        self.ask("terminate instances", call.send()).map(drop)
    }

    fn ask<T, E>(&self, what: &str, call: impl Future<Output = Result<T, SdkError<E>>>) -> Result<T, Ec2Error>
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        self.runtime.block_on(call).map_err(|e| match e.as_service_error().and_then(|e| e.code()) {
            Some(code) => {
                let message = e.as_service_error().and_then(|e| e.message()).unwrap_or("no reason given");
                self.words(what, code, message)
            }
            None => self.unanswered(what, &e),
        })
    }

    fn words(&self, what: &str, code: &str, message: &str) -> Ec2Error {
        in_words(what, Answer { code, message, ahead: self.clock.ahead() })
    }

    /// No answer, or none that EC2 would give.
    fn unanswered<E: Error + Send + Sync + 'static>(&self, what: &str, error: &SdkError<E>) -> Ec2Error {
        let causes = causes(error).replace("dispatch failure: io error: client error (Connect): ", "");
        match error {
            SdkError::ResponseError(_) | SdkError::ServiceError(_) => Ec2Error::failed(
                format!("{what}: what answered is not EC2: {causes}"),
                "see that --endpoint-url, AWS_ENDPOINT_URL_EC2 and the proxy are right",
            ),
            _ => Ec2Error::failed(
                format!("{what}: EC2 in {} cannot be reached: {causes}", self.region),
                "see that the control host reaches the region's address (or name it with --endpoint-url); HTTPS_PROXY and NO_PROXY \
                 are heeded, SSL_CERT_FILE names further certificate authorities; then run the same command again",
            ),
        }
    }
}

async fn load(access: &Access) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(Duration::from_secs(30))
        .operation_timeout(Duration::from_secs(150));
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client())
        .timeout_config(timeouts.build())
        .retry_config(RetryConfig::standard().with_max_attempts(6).with_initial_backoff(Duration::from_millis(500)));
    if let Some(region) = &access.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &access.profile {
        // Named on the line, it comes before keys in the environment, as with the AWS command line.
        let keys = ProfileFileCredentialsProvider::builder().profile_name(profile).build();
        loader = loader.profile_name(profile).credentials_provider(keys);
    }
    if let Some(endpoint) = &access.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    loader.load().await
}

/// The SDK's own client knows no proxy; the AWS command line, and with it the operator, does.
fn http_client() -> aws_sdk_ec2::config::SharedHttpClient {
    static PROXY: LazyLock<ProxyConfig> = LazyLock::new(ProxyConfig::from_env);
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder().proxy_config(PROXY.clone());
        connector.set_connector_settings(settings.cloned());
        if let Some(sleep) = components.and_then(RuntimeComponents::sleep_impl) {
            connector.set_sleep_impl(Some(sleep));
        }
        connector.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build()
    })
}

async fn credentials(config: &SdkConfig) -> Result<(), Ec2Error> {
    let Some(provider) = config.credentials_provider() else {
        return Err(Ec2Error::wrong("no AWS credentials are given", KEYS_HELP));
    };
    match provider.provide_credentials().await {
        Ok(_) => Ok(()),
        Err(e) => Err(Ec2Error::wrong(format!("no AWS credentials are found: {}", causes(&e)), KEYS_HELP)),
    }
}

/// An error with what lies under it, each cause once.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(e) = next {
        let text = e.to_string();
        if words.iter().all(|known| !known.contains(&text)) {
            words.push(text);
        }
        next = e.source();
    }
    words.join(": ")
}

fn disk(name: &str, gib: u32) -> BlockDeviceMapping {
    let size = i32::try_from(gib).unwrap_or(i32::MAX);
    let ebs = EbsBlockDevice::builder().volume_size(size).delete_on_termination(true).build();
    BlockDeviceMapping::builder().device_name(name).ebs(ebs).build()
}

fn tags(kind: ResourceType, request: &Ec2Create, mark: Mark<'_>, token: &str) -> TagSpecification {
    let name = request.name.as_deref().unwrap_or(mark.environment);
    let own = [("Name", name), (ENVIRONMENT, mark.environment), (OWNER, mark.owner), (REQUEST, token)];
    let given = request.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let tags = own.into_iter().chain(given).map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
    TagSpecification::builder().resource_type(kind).set_tags(Some(tags)).build()
}

fn ours(instance: &aws_sdk_ec2::types::Instance) -> Instance {
    let text = |value: Option<&str>| value.filter(|v| !v.is_empty()).map(str::to_owned);
    let request = instance.tags().iter().find(|tag| tag.key() == Some(REQUEST));
    Instance {
        id: instance.instance_id().unwrap_or_default().to_owned(),
        state: instance.state().and_then(|s| s.name()).map_or("pending", |n| n.as_str()).to_owned(),
        reason: instance.state_reason().and_then(|r| text(r.message())),
        instance_type: instance.instance_type().map_or("", |t| t.as_str()).to_owned(),
        private_ip: text(instance.private_ip_address()),
        public_ip: text(instance.public_ip_address()),
        private_dns: text(instance.private_dns_name()),
        public_dns: text(instance.public_dns_name()),
        checks_passed: false,
        request: request.and_then(|tag| text(tag.value())),
    }
}
