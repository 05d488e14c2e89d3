//! What is loaded: webhooks of a running server, or of one that was started.
//!
//! Invariant: a target that was opened took a connection.

use std::{
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use super::project::{SECRET, SECRET_VARIABLE, path, project_file};
use crate::{
    args::{Common, bench::Webhook},
    bench::{
        metrics::Metrics,
        process::Process,
        started::{Started, choice, flag},
        workspace::Workspace,
    },
    client::Client,
    failure::Failure,
};

/// Longest time for the first connection.
const CONNECT_SECONDS_MAX: u64 = 5;

/// More connections than a bench opens: the server must not be what refuses them.
const CONNECTIONS_MAX: u32 = 1_000_000;

/// What is loaded.
pub struct Target {
    /// Where to.
    pub address: SocketAddr,
    /// Host and port, as the URL has them.
    pub authority: String,
    /// Paths of the webhooks.
    pub paths: Vec<String>,
    api: String,
    process: Option<Process>,
    /// Ends with the target.
    _started: Option<Started>,
}

impl Target {
    /// Finds the running server, or starts one.
    pub fn open(flags: &Webhook, common: &Common, workspace: &Workspace) -> Result<Self, Failure> {
        let (urls, started) = match flags.target.url.as_slice() {
            [] => {
                let started = start(flags, workspace)?;
                let urls = (0..flags.target.triggers).map(|number| started.url.clone() + &path(number));
                (urls.collect(), Some(started))
            }
            urls => (urls.to_vec(), None),
        };
        let mut authority = String::new();
        let mut paths = Vec::new();
        for url in &urls {
            let (host, path) = split(url)?;
            if !paths.is_empty() && host != authority {
                return Err(Failure::Usage("--url: all webhooks are of one server".to_owned()));
            }
            host.clone_into(&mut authority);
            paths.push(path.to_owned());
        }
        let address = reach(&authority)?;
        let process = match &started {
            Some(started) => Some(started.process()),
            None => flags.target.pid.map(Process::new),
        };
        if let Some(process) = process.as_ref().filter(|process| !process.exists()) {
            return Err(Failure::Usage(format!("--pid: there is no process {process:?}")));
        }
        let api = started.as_ref().map_or_else(|| common.server.clone(), |started| started.api.clone());
        Ok(Self { address, authority, paths, api, process, _started: started })
    }

    /// The server's process, if it is known.
    pub fn process(&self) -> Option<Process> {
        self.process.clone()
    }

    /// Calls the server's API.
    pub fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.api, false)
    }

    /// What the server counts, if its API can be reached.
    pub fn metrics(&self) -> Option<Metrics> {
        let text = self.client().ok()?.text("/metrics", &[]).ok()?;
        Some(Metrics::parse(&text))
    }

    /// Whether the same stack answers without a log.
    pub fn has_hello(&self) -> bool {
        let client = Client::new(&format!("http://{}", self.authority), false);
        client.and_then(|client| client.text("/hello", &[])).is_ok()
    }
}

/// Starts a server for a load.
fn start(flags: &Webhook, workspace: &Workspace) -> Result<Started, Failure> {
    let target = &flags.target;
    let executors = target.executors.or_else(|| (!target.sync).then_some(0));
    let flags_of_serve = [
        flag("--connections-max", Some(CONNECTIONS_MAX)),
        flag("--runtime", Some(choice(&target.runtime))),
        flag("--durability", Some(choice(&target.durability))),
        flag("--shards", target.shards),
        flag("--executors", executors),
    ];
    Started::start(workspace, &project_file(flags), &flags_of_serve.concat(), &[(SECRET_VARIABLE, SECRET)])
}

/// Host and path of a URL.
fn split(url: &str) -> Result<(&str, &str), Failure> {
    let refuse = |how: &str| Failure::Usage(format!("--url {url}: {how}"));
    let Some(rest) = url.strip_prefix("http://") else {
        return Err(refuse("write it as http://HOST:PORT/i/ID; the load generator speaks no TLS"));
    };
    let at = rest.find('/').ok_or_else(|| refuse("the path of the webhook is missing, such as /i/ID"))?;
    match rest.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        true => Err(refuse("it has a space in it")),
        false => Ok(rest.split_at(at)),
    }
}

fn reach(authority: &str) -> Result<SocketAddr, Failure> {
    let with_port = if authority.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok()) {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let unreachable = |error: std::io::Error| {
        Failure::Unreachable(format!(
            "no connection to {authority}: {error}\nIs the server running, and is this its --listen?"
        ))
    };
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in with_port.to_socket_addrs().map_err(unreachable)? {
        match TcpStream::connect_timeout(&address, Duration::from_secs(CONNECT_SECONDS_MAX)) {
            Ok(_) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}

#[cfg(test)]
mod tests {
    use super::split;
    use crate::failure::Failure;

    #[test]
    fn a_url_is_split_before_its_path() {
        assert!(matches!(split("http://h:1/i/a?b=c"), Ok(("h:1", "/i/a?b=c"))));
        for url in ["https://h/i/a", "h:1/i/a", "http://h:1", "http://h:1/i/a b"] {
            assert!(matches!(split(url), Err(Failure::Usage(_))), "{url}");
        }
    }
}
