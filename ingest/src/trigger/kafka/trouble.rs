//! Trouble: what librdkafka says, as a sentence that says what to do.
//!
//! Invariant: a sentence names hosts, topics, groups and users, and never a password.

use rdkafka::error::RDKafkaErrorCode as Code;

use super::settings::{CA_LOCATION, KafkaSettings};

/// The sentence for a client that cannot be made.
pub fn refusal(settings: &KafkaSettings, reason: &str) -> String {
    let file = settings.librdkafka.iter().find(|(key, _)| key == CA_LOCATION && reason.contains(CA_LOCATION));
    match file {
        Some((_, file)) => format!(
            "No certificates can be read from the file {file}, which `{CA_LOCATION}` names: correct the one or the other; \
             reading begins by itself. ({reason})"
        ),
        None => format!("librdkafka refuses the settings of this trigger: correct them. ({reason})"),
    }
}

/// The sentence for an error; `None` for what ends by itself and is nobody's fault.
pub fn sentence(settings: &KafkaSettings, code: Code, reason: &str) -> Option<String> {
    let hosts = settings.hosts.join(", ");
    let user = settings.login.as_ref().and_then(|login| login.username.as_ref().ok());
    let user = user.map_or_else(|| "anonymous".to_owned(), |user| format!("`{}`", user.0));
    let (topics, group) = (settings.topics.join(", "), &settings.group_id);
    if is_unreachable(code)
        && let Some(address) = told_address(settings, reason)
    {
        return Some(format!(
            "The broker at {address}, as the cluster at {hosts} calls it, cannot be reached: check that it runs, and that \
             its `advertised.listeners` name an address that is reached from here. ({reason})"
        ));
    }
    Some(match code {
        // Librdkafka has the same code for this and for a wrong password.
        Code::Authentication if reason.contains("mechanism handshake failed") => no_such_login(reason),
        Code::Authentication | Code::SaslAuthenticationFailed => format!(
            "Kafka refused the login of the user {user}: check `username`, `password` and `sasl`. ({reason})"
        ),
        Code::UnsupportedSASLMechanism | Code::IllegalSASLState => no_such_login(reason),
        Code::SSL => format!(
            "No encrypted connection to {hosts} comes about: check that this listener speaks TLS, and that \
             `librdkafka: {{ssl.ca.location: FILE}}` names the authority that signed its certificate. ({reason})"
        ),
        Code::Resolve => {
            format!("A host of {hosts} has no address: check `hosts`, and the name service. ({reason})")
        }
        Code::AllBrokersDown
        | Code::BrokerTransportFailure
        | Code::OperationTimedOut
        | Code::RequestTimedOut => {
            format!(
                "No broker answers at {hosts}: check `hosts`, that Kafka runs, and that the listener wants {}, and {}. \
                 ({reason})",
                if settings.ssl { "TLS as `ssl: true` says" } else { "no TLS, as `ssl: false` says" },
                if settings.login.is_some() { "the login that `sasl` names" } else { "no login" },
            )
        }
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => format!(
            "A topic of {topics} does not exist: make it, or correct `topics`; reading begins by itself. ({reason})"
        ),
        Code::TopicAuthorizationFailed => format!(
            "The user {user} may not read {topics}: give it the rights READ and DESCRIBE on the topic. ({reason})"
        ),
        Code::GroupAuthorizationFailed => format!(
            "The user {user} may not use the group {group}: give it the right READ on the group, or set `group_id`. \
             ({reason})"
        ),
        Code::ClusterAuthorizationFailed => {
            format!("The user {user} has not the rights that this needs on the cluster. ({reason})")
        }
        Code::PollExceeded | Code::NoOffset | Code::AssignmentLost => return None,
        Code::RebalanceInProgress | Code::IllegalGeneration | Code::UnknownMemberId => return None,
        Code::CoordinatorLoadInProgress | Code::CoordinatorNotAvailable | Code::NotCoordinator => {
            return None;
        }
        other => format!("Kafka: {other}. ({reason})"),
    })
}

fn is_unreachable(code: Code) -> bool {
    matches!(
        code,
        Code::Resolve | Code::BrokerTransportFailure | Code::OperationTimedOut | Code::RequestTimedOut
    )
}

/// The address that the cluster told of a broker, where it is that broker that librdkafka speaks of.
fn told_address<'a>(settings: &KafkaSettings, reason: &'a str) -> Option<&'a str> {
    told(reason).filter(|address| !settings.hosts.iter().any(|host| host == address))
}

/// The address in what librdkafka says of a broker that the cluster told of: of one by its number, `kafka:9092/1: ...`, or of
/// the group's own, `GroupCoordinator: kafka:9092: ...`. A host of the settings has `/bootstrap` instead.
fn told(reason: &str) -> Option<&str> {
    let broker = match reason.strip_prefix("GroupCoordinator: ") {
        Some(rest) => rest.split_once(": ")?.0,
        None => {
            let (broker, number) = reason.split_once(": ")?.0.rsplit_once('/')?;
            number.parse::<u32>().ok()?;
            broker
        }
    };
    let address = broker.rsplit_once("://").map_or(broker, |(_, address)| address);
    let (_, port) = address.rsplit_once(':')?;
    port.parse::<u16>().is_ok().then_some(address)
}

fn no_such_login(reason: &str) -> String {
    format!("Kafka does not take this kind of login: check `sasl`. ({reason})")
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn the_address_that_a_cluster_told_is_found_in_what_librdkafka_says_of_a_broker() {
        let refused = "Connect to ipv4#10.1.2.3:9092 failed: Connection refused (after 0ms in state CONNECT)";
        for broker in ["kafka:9092/1", "sasl_ssl://kafka:9092/12", "GroupCoordinator: kafka:9092"] {
            assert_eq!(told(&format!("{broker}: {refused}")), Some("kafka:9092"), "{broker}");
        }
        for broker in ["kafka:9092/bootstrap", "ssl://kafka:9092/bootstrap", "GroupCoordinator"] {
            assert_eq!(told(&format!("{broker}: {refused}")), None, "{broker}");
        }
        assert_eq!(told("1/1 brokers are down"), None);
    }
}
