//! A socket on which a step finds an agent. Each connection is served on its own; all of them end
//! with the step.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet};

use super::Agent;
use super::protocol::{self, LONGEST};
use crate::io_error::{AtPath, IoError};

/// A socket that is served until this is dropped, which also removes it.
#[derive(Debug)]
pub struct Listening {
    path: PathBuf,
    server: AbortHandle,
}

impl Agent {
    /// Serves the agent on a new socket in a directory. To be called where tokio runs.
    pub fn listen(self: &Arc<Self>, directory: &Path, name: &str) -> Result<Listening, IoError> {
        let path = directory.join(name);
        let listener = bind(directory, name).at("listen on", &path)?;
        let agent = Arc::clone(self);
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((step, _)) = listener.accept().await {
                let agent = Arc::clone(&agent);
                // A connection that breaks is the step's affair.
                connections.spawn(async move { drop(serve(&agent, step).await) });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Listening {
            path,
            server: server.abort_handle(),
        })
    }
}

/// An address has room for 108 bytes only, and the directory's own path may be longer.
fn bind(directory: &Path, name: &str) -> io::Result<UnixListener> {
    let directory = File::open(directory)?;
    UnixListener::bind(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
}

impl Listening {
    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.server.abort();
        // Its directory is removed as well, if not now, then by the store's next sweep.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve(agent: &Agent, mut step: UnixStream) -> io::Result<()> {
    let mut other = match agent {
        Agent::Socket(path) => Some(UnixStream::connect(path).await?),
        Agent::Keys(_) => None,
    };
    loop {
        let request = read(&mut step).await?;
        let answer = match (agent, &mut other) {
            (Agent::Keys(keys), _) => protocol::answer(keys, &request),
            (Agent::Socket(_), Some(other)) if protocol::is_allowed(&request) => {
                write(other, &request).await?;
                read(other).await?
            }
            (Agent::Socket(_), _) => protocol::refusal(),
        };
        write(&mut step, &answer).await?;
    }
}

async fn read(from: &mut UnixStream) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await? as usize;
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    from.read_exact(&mut message).await?;
    Ok(message)
}

async fn write(to: &mut UnixStream, message: &[u8]) -> io::Result<()> {
    to.write_u32(message.len() as u32).await?;
    to.write_all(message).await
}
