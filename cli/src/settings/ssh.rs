//! `--ssh`: agents that steps may have things signed by.

use std::path::PathBuf;

use super::{Environment, UsageError};

const OPTION: &str = "--ssh";

/// An agent's name, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSetting {
    /// What mounts call it.
    pub id: String,
    /// One socket, or files of keys; at least one.
    pub paths: Vec<PathBuf>,
}

/// Reads `ID[=SOCKET|=KEY,...]` of all options; no name is `default`, and no path is the agent of the
/// environment.
pub(super) fn parse(
    typed: &[String],
    environment: &Environment,
) -> Result<Vec<AgentSetting>, UsageError> {
    let mut agents: Vec<AgentSetting> = Vec::new();
    for typed in typed {
        let agent = parse_one(typed, environment)?;
        if agents.iter().any(|other| other.id == agent.id) {
            let problem = format!("there are two agents named {}", agent.id);
            return Err(UsageError::new(OPTION, typed, problem));
        }
        agents.push(agent);
    }
    Ok(agents)
}

fn parse_one(typed: &str, environment: &Environment) -> Result<AgentSetting, UsageError> {
    let (id, paths) = typed.split_once('=').unwrap_or((typed, ""));
    let id = if id.is_empty() { "default" } else { id };
    let paths = match paths {
        "" => {
            let socket = environment.get("SSH_AUTH_SOCK");
            socket.filter(|socket| !socket.is_empty()).ok_or_else(|| {
                UsageError::new(
                    OPTION,
                    typed,
                    "SSH_AUTH_SOCK is not set: no agent is running",
                )
                .hint(format!(
                    "start one with eval $(ssh-agent), or write --ssh {id}=SOCKET or {id}=KEYFILE"
                ))
            })?
        }
        paths => paths,
    };
    Ok(AgentSetting {
        id: id.to_owned(),
        paths: paths.split(',').map(PathBuf::from).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(line: &str) -> Result<Vec<AgentSetting>, UsageError> {
        let typed: Vec<String> = line.split(' ').map(str::to_owned).collect();
        parse(&typed, &Environment::from([("SSH_AUTH_SOCK", "/agent")]))
    }

    #[test]
    fn an_agent_has_a_name_and_paths() {
        let agents =
            parse_words("default git=/run/socket keys=a,b=c").expect("all are well formed");
        let expected = [
            ("default", vec!["/agent"]),
            ("git", vec!["/run/socket"]),
            ("keys", vec!["a", "b=c"]),
        ];
        let expected = expected.map(|(id, paths)| AgentSetting {
            id: id.into(),
            paths: paths.into_iter().map(PathBuf::from).collect(),
        });
        assert_eq!(agents, expected);
        assert!(
            parse_words("default =/run/socket").is_err(),
            "two of a name"
        );
        assert!(parse(&["default".into()], &Environment::default()).is_err());
    }
}
