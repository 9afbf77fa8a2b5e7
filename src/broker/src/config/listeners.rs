//! Listener settings: where to listen, what clients are told, and that no listener needs a protocol that is not here.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::BrokerConfig;
use super::setting::{Problem, list};
use super::settings::{ConfigError, Settings};

/// A host and a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// A name or an address, without brackets; empty: every address of the machine.
    pub host: String,
    /// 0: any free one.
    pub port: u16,
}

/// An address to serve clients on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// Its name, upper case.
    pub name: String,
    /// Where to listen.
    pub bind: Endpoint,
    /// What clients that came in here are told; `None`: the address that they used.
    pub advertised: Option<Endpoint>,
}

impl BrokerConfig {
    /// Where a client that came in at the address `local` is told to connect to.
    pub fn advertised(&self, local: SocketAddr) -> Endpoint {
        let used = SocketAddr::new(local.ip().to_canonical(), local.port());
        let listener = self.listeners.iter().find(|listener| listener.bind.is(used));
        match listener.or(self.listeners.first()).and_then(|listener| listener.advertised.as_ref()) {
            Some(told) => told.clone(),
            None => Endpoint { host: used.ip().to_string(), port: used.port() },
        }
    }
}

impl Endpoint {
    /// Whether what listens here may have been reached at that address.
    fn is(&self, used: SocketAddr) -> bool {
        let host_is = match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_unspecified() || address == used.ip(),
            Err(_) => true,
        };
        host_is && (self.port == used.port() || self.port == 0)
    }
}

/// The listeners to open, in the order in which they are set.
pub(super) fn listeners(settings: &Settings) -> Result<Vec<Listener>, ConfigError> {
    let for_controllers: Vec<String> =
        list(settings.value("controller.listener.names").unwrap_or("")).map(str::to_ascii_uppercase).collect();
    let protocols = protocols(settings)?;
    let mut advertised = named_endpoints(settings, "advertised.listeners")?;
    let mut opened: Vec<Listener> = Vec::new();
    for (name, bind) in named_endpoints(settings, "listeners")? {
        if for_controllers.contains(&name) {
            advertised.retain(|(other, _)| *other != name);
            continue;
        }
        check_protocol(settings, &protocols, &name)?;
        if opened.iter().any(|other| other.name == name) {
            return Err(malformed(settings, "listeners", &name, "a listener name that is used once"));
        }
        let told = advertised.iter().position(|(other, _)| *other == name).map(|at| advertised.remove(at).1);
        if let Some(told) = &told
            && (told.port == 0 || is_wildcard(&told.host))
        {
            return Err(malformed(
                settings,
                "advertised.listeners",
                &told.to_string(),
                "an address that clients can reach",
            ));
        }
        opened.push(Listener { name, bind, advertised: told });
    }
    // Container set-ups advertise the controller's listener too.
    advertised.retain(|(name, _)| !for_controllers.contains(name));
    if let Some((name, _)) = advertised.first() {
        return Err(malformed(settings, "advertised.listeners", name, "the name of a listener"));
    }
    if opened.is_empty() {
        return Err(malformed(settings, "listeners", settings.text("listeners"), "a listener for clients"));
    }
    Ok(opened)
}

/// `HOST:PORT`; empty for none.
pub(super) fn optional_endpoint(settings: &Settings, name: &str) -> Result<Option<Endpoint>, ConfigError> {
    match settings.text(name) {
        "" => Ok(None),
        text => endpoint(text).map(Some).ok_or_else(|| malformed(settings, name, text, "HOST:PORT")),
    }
}

fn named_endpoints(settings: &Settings, setting: &str) -> Result<Vec<(String, Endpoint)>, ConfigError> {
    let parse = |item: &str| {
        let parsed = item.split_once("://").and_then(|(name, address)| {
            let named =
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
            named.then_some((name.to_ascii_uppercase(), endpoint(address)?))
        });
        parsed.ok_or_else(|| malformed(settings, setting, item, "NAME://HOST:PORT"))
    };
    list(settings.value(setting).unwrap_or("")).map(parse).collect()
}

/// Host and port; an IPv6 address stands in brackets.
fn endpoint(text: &str) -> Option<Endpoint> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    if host.contains(|character: char| character.is_whitespace() || "/[]".contains(character)) {
        return None;
    }
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Endpoint { host: host.to_owned(), port: port.parse().ok()? })
}

fn is_wildcard(host: &str) -> bool {
    matches!(host, "" | "0.0.0.0" | "::")
}

/// The protocol of each listener name.
fn protocols(settings: &Settings) -> Result<Vec<(String, String)>, ConfigError> {
    let setting = "listener.security.protocol.map";
    let parse = |item: &str| {
        let pair =
            item.split_once(':').filter(|(_, protocol)| PROTOCOLS.contains(&protocol.to_ascii_uppercase().as_str()));
        let pair = pair.ok_or_else(|| malformed(settings, setting, item, "NAME:PROTOCOL"))?;
        Ok((pair.0.to_ascii_uppercase(), pair.1.to_ascii_uppercase()))
    };
    // What is in Kafka's default map goes without saying; a name that says its protocol has it.
    list(settings.text(setting))
        .map(parse)
        .chain(PROTOCOLS.iter().map(|name| Ok((name.to_string(), name.to_string()))))
        .collect()
}

fn check_protocol(settings: &Settings, protocols: &[(String, String)], name: &str) -> Result<(), ConfigError> {
    match protocols.iter().find(|(listener, _)| listener == name) {
        Some((_, protocol)) if protocol == "PLAINTEXT" => Ok(()),
        Some((_, protocol)) => {
            let value = format!("{name} ({protocol})");
            let instead = "this broker has only PLAINTEXT listeners".to_owned();
            Err(settings.error("listeners", Problem::Refused { value, instead }))
        }
        None => Err(malformed(settings, "listeners", name, "a name that listener.security.protocol.map has")),
    }
}

fn malformed(settings: &Settings, name: &str, value: &str, expected: &str) -> ConfigError {
    let problem = Problem::Malformed { value: Some(value.to_owned()), expected: expected.to_owned() };
    settings.error(name, problem)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

const PROTOCOLS: &[&str] = &["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn load(arguments: &[&str]) -> Result<Vec<Listener>, String> {
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
        let settings = Settings::load(&Sources { set: &arguments, ..Sources::default() }).expect("well-formed");
        listeners(&settings).map_err(|error| error.to_string())
    }

    fn at(host: &str, port: u16) -> Endpoint {
        Endpoint { host: host.into(), port }
    }

    #[test]
    fn without_settings_it_listens_on_the_loopback() {
        let expected = Listener { name: "PLAINTEXT".into(), bind: at("127.0.0.1", 9092), advertised: None };
        assert_eq!(load(&[]), Ok(vec![expected]));
    }

    #[test]
    fn the_usual_container_settings_open_the_client_listeners_only() {
        let opened = load(&[
            "listeners=PLAINTEXT://:9092,host://[::1]:29092,CONTROLLER://:9093",
            "advertised.listeners=PLAINTEXT://kafka:9092,HOST://localhost:29092,CONTROLLER://kafka:9093",
            "controller.listener.names=CONTROLLER",
            "listener.security.protocol.map=CONTROLLER:SSL,PLAINTEXT:PLAINTEXT,HOST:PLAINTEXT",
        ])
        .expect("usual settings");
        assert_eq!(opened.len(), 2);
        assert_eq!((&opened[0].bind, &opened[0].advertised), (&at("", 9092), &Some(at("kafka", 9092))));
        assert_eq!((opened[1].name.as_str(), opened[1].bind.to_string().as_str()), ("HOST", "[::1]:29092"));
    }

    #[test]
    fn clients_are_told_what_is_advertised_or_the_address_that_they_used() {
        let set = [
            "listeners=PLAINTEXT://:9092,HOST://127.0.0.1:29092,FREE://localhost:0",
            "advertised.listeners=HOST://example:1",
            "listener.security.protocol.map=HOST:PLAINTEXT,FREE:PLAINTEXT",
        ];
        let set = set.map(str::to_owned);
        let config = BrokerConfig::load(&Sources { set: &set, ..Sources::default() }).expect("valid");
        for (local, told) in [
            ("127.0.0.1:9092", "127.0.0.1:9092"),
            ("[::ffff:10.0.0.1]:9092", "10.0.0.1:9092"),
            ("[::1]:9092", "[::1]:9092"),
            ("127.0.0.1:29092", "example:1"),
            ("127.0.0.1:40000", "127.0.0.1:40000"),
        ] {
            let local = local.parse().expect("an address");
            assert_eq!(config.advertised(local).to_string(), told);
        }
    }

    #[test]
    fn listeners_that_cannot_be_are_errors() {
        for (arguments, expected) in [
            (&["listeners=9092"][..], "listeners: '9092' is not NAME://HOST:PORT (from --set)"),
            (&["listeners=PLAINTEXT://h"], "listeners: 'PLAINTEXT://h' is not NAME://HOST:PORT (from --set)"),
            (
                &["listeners=PLAINTEXT://h:99999"],
                "listeners: 'PLAINTEXT://h:99999' is not NAME://HOST:PORT (from --set)",
            ),
            (
                &["listeners=PLAINTEXT://::1:9092"],
                "listeners: 'PLAINTEXT://::1:9092' is not NAME://HOST:PORT (from --set)",
            ),
            (&["listeners="], "listeners: '' is not a listener for clients (from --set)"),
            (
                &["listeners=SSL://h:1"],
                "listeners: 'SSL (SSL)' is refused: this broker has only PLAINTEXT listeners (from --set)",
            ),
            (
                &["listeners=A://h:1"],
                "listeners: 'A' is not a name that listener.security.protocol.map has (from --set)",
            ),
            (
                &["listeners=PLAINTEXT://h:1,PLAINTEXT://h:2"],
                "listeners: 'PLAINTEXT' is not a listener name that is used once (from --set)",
            ),
            (
                &["advertised.listeners=PLAINTEXT://0.0.0.0:9092"],
                "advertised.listeners: '0.0.0.0:9092' is not an address that clients can reach (from --set)",
            ),
            (
                &["advertised.listeners=OTHER://h:9092"],
                "advertised.listeners: 'OTHER' is not the name of a listener (from --set)",
            ),
            (
                &["listener.security.protocol.map=A:B"],
                "listener.security.protocol.map: 'A:B' is not NAME:PROTOCOL (from --set)",
            ),
        ] {
            assert_eq!(load(arguments), Err(expected.to_string()));
        }
    }
}
