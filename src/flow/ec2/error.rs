//! What EC2 answers, in the operator's words.
//!
//! Codes are those of the EC2 API reference, "Error codes for the Amazon EC2 API".

use crate::flow::error::FlowError;
use crate::plan::StepError;

/// Why EC2 did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ec2Error {
    /// The request or the credentials are wrong; nothing was made.
    pub(super) wrong: bool,
    pub(super) text: String,
    pub(super) help: Option<String>,
    /// EC2's code, when it answered at all.
    pub(super) code: Option<String>,
}

impl Ec2Error {
    pub(super) fn wrong(text: impl Into<String>, help: &str) -> Self {
        Self { wrong: true, text: text.into(), help: Some(help.to_owned()), code: None }
    }

    pub(super) fn failed(text: impl Into<String>, help: &str) -> Self {
        Self { wrong: false, ..Self::wrong(text, help) }
    }

    /// The account may do the work and still not ask such questions.
    pub(super) fn is_forbidden(&self) -> bool {
        self.code.as_deref().is_some_and(|code| matches!(code, "UnauthorizedOperation" | "AccessDenied"))
    }
}

impl From<Ec2Error> for FlowError {
    fn from(e: Ec2Error) -> Self {
        if e.wrong {
            Self::Request { error: e.text, help: e.help }
        } else {
            Self::Failed { error: e.text, help: e.help }
        }
    }
}

impl From<Ec2Error> for StepError {
    fn from(e: Ec2Error) -> Self {
        Self::Failed { error: e.text, help: e.help }
    }
}

/// An error answer of EC2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    pub(super) code: &'a str,
    pub(super) message: &'a str,
    /// Seconds that the control host's clock is ahead of EC2's, as far as the answer tells; negative: behind.
    pub(super) ahead: Option<i64>,
}

/// From this on AWS refuses signatures, by its documentation: five minutes; less is said where it refuses all the same.
const CLOCK: i64 = 240;

/// `what` is what was asked for: "make instances".
pub(super) fn in_words(what: &str, answer: Answer<'_>) -> Ec2Error {
    let Answer { code, message, ahead } = answer;
    let clock = ahead.filter(|s| s.abs() >= CLOCK);
    let told = format!("{what}: EC2 answered {code}: {message}");
    let (wrong, text, help) = match code {
        "RequestExpired"
        | "RequestInTheFuture"
        | "AuthFailure"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
            if clock.is_some() =>
        {
            let seconds = clock.unwrap_or_default();
            let side = if seconds > 0 { "ahead of" } else { "behind" };
            let how_far = span(seconds.unsigned_abs());
            (
                false,
                format!("the control host's clock is {how_far} {side} AWS's, which therefore refuses it ({code})"),
                CLOCK_HELP,
            )
        }
        "RequestExpired" => (false, told, CLOCK_HELP),
        "AuthFailure"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "InvalidAccessKeyId" => (true, format!("the AWS credentials are not accepted: {code}: {message}"), KEYS_HELP),
        "ExpiredToken" | "ExpiredTokenException" => (
            true,
            format!("the AWS credentials have expired: {message}"),
            "get new temporary credentials and run the same command again",
        ),
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => (true, told, RIGHTS_HELP),
        "OptInRequired" | "PendingVerification" | "Blocked" => {
            (false, told, "the account itself is not ready for this: see AWS's console or its support")
        }
        code if code.starts_with("InvalidGroup") || code.starts_with("InvalidSecurityGroup") => (
            true,
            format!("{code}: {message}"),
            "a security group belongs to one network (VPC): it must be that of the subnet",
        ),
        code if ["InvalidAMIID", "InvalidKeyPair", "InvalidSubnetID"].iter().any(|head| code.starts_with(head)) => {
            (true, format!("{code}: {message}"), REGION_HELP)
        }
        "InsufficientInstanceCapacity" | "InsufficientHostCapacity" | "InsufficientCapacity" => {
            (false, told, CAPACITY_HELP)
        }
        "InsufficientFreeAddressesInSubnet" => {
            (false, told, "the subnet is full: name another, or ask for fewer instances")
        }
        "RequestLimitExceeded" | "Throttling" | "ThrottlingException" | "EC2ThrottledException" => (
            false,
            format!(
                "{what}: AWS throttles this account's requests; asked again several times, with growing waits ({code})"
            ),
            AGAIN,
        ),
        code if code.ends_with("LimitExceeded") => {
            (false, format!("{what}: a quota of the account is reached: {code}: {message}"), QUOTA_HELP)
        }
        "IdempotentParameterMismatch" => (false, told, "another --environment has tokens of its own"),
        "InternalError" | "InternalFailure" | "Unavailable" | "ServiceUnavailable" => (false, told, AGAIN),
        code if code.starts_with("Invalid")
            || matches!(code, "MissingParameter" | "Unsupported" | "UnknownParameter" | "VPCIdNotSpecified") =>
        {
            (true, told, "fix the parameter that is named and run the same command again")
        }
        _ => (false, told, AGAIN),
    };
    Ec2Error { wrong, text, help: Some(help.to_owned()), code: Some(code.to_owned()) }
}

const CLOCK_HELP: &str = "set the control host's clock (`chronyc makestep`, or `date -s 'YYYY-MM-DD HH:MM:SS'`; `timedatectl` shows it) and run \
                          the same command again";
pub(super) const KEYS_HELP: &str = "give the credentials as the AWS tools take them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile in ~/.aws \
                         (AWS_PROFILE or --profile), or an instance role";
const RIGHTS_HELP: &str = "the account's policy must allow ec2:RunInstances, ec2:CreateTags, ec2:DescribeInstances, ec2:DescribeInstanceStatus, \
                           ec2:DescribeImages and ec2:TerminateInstances";
const REGION_HELP: &str = "images, key pairs and subnets hold in one region only (--region); `aws ec2 describe-images`, `describe-key-pairs` and \
     `describe-subnets` list them";
const CAPACITY_HELP: &str = "AWS has no room for this instance type there now: try another --instance-type, a subnet in another availability zone, or later";
const QUOTA_HELP: &str =
    "ask for fewer or smaller instances, terminate some, or have the quota raised (Service Quotas, Amazon EC2)";
const AGAIN: &str = "run the same command again: no instance is made twice";

/// "21 minutes", "3 hours and 5 minutes".
pub(super) fn span(seconds: u64) -> String {
    let minutes = seconds.div_ceil(60);
    match (minutes / 60, minutes % 60) {
        (0, m) => format!("{m} minutes"),
        (h, 0) => format!("{h} hours"),
        (h, m) => format!("{h} hours and {m} minutes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(code: &str, ahead: Option<i64>) -> Ec2Error {
        in_words("make instances", Answer { code, message: "said so", ahead })
    }

    #[test]
    fn codes_become_sentences_with_a_way_out() {
        for code in [
            "InvalidAMIID.NotFound",
            "InvalidKeyPair.NotFound",
            "InvalidSubnetID.NotFound",
            "AuthFailure",
            "InvalidParameterValue",
        ] {
            assert!(words(code, None).wrong, "{code}");
        }
        for code in [
            "VcpuLimitExceeded",
            "InstanceLimitExceeded",
            "InsufficientInstanceCapacity",
            "RequestLimitExceeded",
            "Unknown",
        ] {
            let e = words(code, None);
            assert!(!e.wrong && e.text.contains(code) && e.help.is_some(), "{e:?}");
        }
        assert!(words("VcpuLimitExceeded", None).text.contains("quota"));
        assert!(words("RequestLimitExceeded", None).text.contains("throttles"));
    }

    #[test]
    fn a_wrong_clock_is_told_with_how_far() {
        let e = words("AuthFailure", Some(-3 * 3600 - 240));
        assert!(e.text.contains("3 hours and 4 minutes behind"), "{}", e.text);
        assert!(words("RequestExpired", Some(1200)).text.contains("20 minutes ahead"));
        assert!(words("AuthFailure", Some(5)).text.contains("not accepted"));
    }
}
