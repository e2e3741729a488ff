//! The running program without the bundle behind it, for hosts that are to run it themselves.

use std::io::Read;
use std::sync::OnceLock;

use payload::Bundle;

use crate::plan::StepError;

/// Its bytes: read once, when a step first asks for them, and shared by all hosts.
pub(super) fn program() -> Result<&'static [u8], StepError> {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(bytes) = BYTES.get() {
        return Ok(bytes);
    }
    let read = read().map_err(|why| StepError::failed(format!("cannot read this program: {why}")))?;
    Ok(BYTES.get_or_init(|| read))
}

fn read() -> Result<Vec<u8>, String> {
    let Some(bundle) = Bundle::open_self().map_err(|e| e.to_string())? else {
        return std::fs::read("/proc/self/exe").map_err(|e| e.to_string());
    };
    let mut bytes = Vec::new();
    let mut deployer = bundle.deployer_reader().map_err(|e| e.to_string())?;
    deployer.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    Ok(bytes)
}
