//! From `KAFKA_*` variables to setting names, as Apache's container image maps them.

/// The setting that a variable names; `None` for a variable that is none.
pub(super) fn setting_name(variable: &str) -> Option<String> {
    let rest = variable.strip_prefix("KAFKA_")?;
    if rest.is_empty() || NOT_SETTINGS.contains(&variable) || is_service_link(rest) {
        return None;
    }
    // Three underscores stand for a dash, two for an underscore, one for a dot.
    Some(rest.to_ascii_lowercase().replace("___", "-").replace("__", "\0").replace('_', ".").replace('\0', "_"))
}

/// What Kubernetes puts into the environment for a service whose name begins with `kafka`: no setting ends like that.
fn is_service_link(rest: &str) -> bool {
    let after_port = rest.split_once("PORT_").and_then(|(_, after)| after.bytes().next());
    rest.ends_with("PORT")
        || rest.ends_with("SERVICE_HOST")
        || rest.contains("SERVICE_PORT_")
        || after_port.is_some_and(|byte| byte.is_ascii_digit())
}

/// What Kafka's scripts and images read for themselves.
const NOT_SETTINGS: &[&str] = &[
    "KAFKA_CLUSTER_ID",
    "KAFKA_DEBUG",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_HOME",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JMX_OPTS",
    "KAFKA_JMX_PORT",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_LOG4J_CMD_OPTS",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_OPTS",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_VERSION",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_map_as_in_apaches_container() {
        for (variable, expected) in [
            ("KAFKA_LOG_DIRS", Some("log.dirs")),
            ("KAFKA_NODE_ID", Some("node.id")),
            ("KAFKA_A__B___C_D", Some("a_b-c.d")),
            ("KAFKA_HEAP_OPTS", None),
            ("KAFKA_PORT_9092_TCP_ADDR", None),
            ("KAFKA_SERVICE_PORT", None),
            ("KAFKA_SERVICE_PORT_CLIENTS", None),
            ("KAFKA_BROKER_PORT", None),
            ("KAFKA_BROKER_SERVICE_HOST", None),
            ("KAFKA_", None),
            ("CLUSTER_ID", None),
            ("PATH", None),
        ] {
            assert_eq!(setting_name(variable).as_deref(), expected, "{variable}");
        }
    }
}
