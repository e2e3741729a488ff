//! Commands that write a bundle leave nothing half-written behind when a signal ends them.

use std::io;

use super::signals::Ending;

/// From now on SIGINT, SIGTERM and SIGHUP remove what is being written and end the process with exit code 130.
///
/// # Errors
/// When the signals cannot be listened for.
pub(super) fn remove_on_signals() -> io::Result<()> {
    let (ready, listening) = std::sync::mpsc::channel();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let ended = runtime.and_then(|runtime| runtime.block_on(any_signal(&ready)));
        match ended {
            Ok(()) => {
                payload::remove_unfinished();
                std::process::exit(130);
            }
            // Who asked has the error; when nobody waits for it any more there is nobody to hear it.
            Err(error) => ready.send(Err(error)).unwrap_or_default(),
        }
    })?;
    listening.recv().map_err(io::Error::other)?
}

/// Returns with the first of the signals; `ready` hears when it listens.
async fn any_signal(ready: &std::sync::mpsc::Sender<io::Result<()>>) -> io::Result<()> {
    let mut ending = Ending::listen()?;
    ready.send(Ok(())).unwrap_or_default();
    ending.wait().await;
    Ok(())
}
