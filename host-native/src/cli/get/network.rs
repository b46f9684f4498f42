//! What the arguments of `get` and the environment say about the network: headers, credentials, trust, proxies, the rate.
//! Whatever is wrong with them is found here, before anything is written. No value of a header, no password and no URL of a
//! proxy is repeated in an error.

use super::target::Target;
use crate::cli::args::Get;
use crate::transport::{Header, NamedProxy, NoProxy, Proxies, Proxy, ProxyUnusable, Roots, TransportOptions};
use regrip_core::DownloadsConfig;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Longest PEM file.
const MAX_PEM_BYTES: u64 = 16 << 20;

/// What the arguments mean, timeouts and the URLs' own userinfo left out.
#[derive(Debug)]
pub(crate) struct NetworkOptions {
    headers: Vec<Header>,
    roots: Roots,
    proxies: Proxies,
    bytes_per_second: Option<std::num::NonZeroU64>,
}

/// Reads the arguments and, by name, the environment.
///
/// # Errors
/// One or two lines: what was wrong, and what to do.
pub(crate) fn network(get: &Get, environment: impl Fn(&str) -> Option<String>) -> Result<NetworkOptions, String> {
    Ok(NetworkOptions {
        headers: headers(get)?,
        roots: roots(get)?,
        proxies: proxies(get.proxy.as_deref(), environment)?,
        bytes_per_second: get.limit_rate,
    })
}

impl NetworkOptions {
    /// Checks that there is a way to every target.
    ///
    /// # Errors
    /// Two lines: which proxy cannot be used though a target needs it, and what to do.
    pub(crate) fn check(&self, targets: &[Target]) -> Result<(), String> {
        let mut ways = targets.iter().map(|target| self.proxies.check(&target.url));
        ways.try_for_each(|way| way.map_err(|unusable| unusable_proxy(&unusable)))
    }

    /// The headers that a target's requests carry beside regrip's own, by name: what its row keeps of them.
    pub(crate) fn header_names(&self, target: &Target) -> Vec<String> {
        let given = self.headers.iter().map(|header| header.name().to_owned());
        let userinfo = target.userinfo.iter().map(|_| "authorization".to_owned());
        let own = target.headers.iter().map(|header| header.name().to_owned());
        let names: BTreeSet<String> = given.chain(userinfo).chain(own).collect();
        names.into_iter().collect()
    }

    /// What a transport for these targets is built from. Userinfo of a URL goes to that URL and nowhere else, and is kept in
    /// memory only.
    pub(crate) fn options(&self, config: &DownloadsConfig, targets: &[Target]) -> TransportOptions {
        let mut options = TransportOptions::new(config);
        options.headers.clone_from(&self.headers);
        options.roots = self.roots.clone();
        options.proxies = self.proxies.clone();
        options.bytes_per_second = self.bytes_per_second;
        for target in targets {
            if let Some((user, password)) = &target.userinfo {
                options.userinfo(&target.url, user, password);
            }
            for header in &target.headers {
                options.header_of(&target.url, header.clone());
            }
        }
        options
    }
}

fn headers(get: &Get) -> Result<Vec<Header>, String> {
    let mut headers = Vec::new();
    for typed in &get.headers {
        headers.push(header(typed).map_err(|why| format!("--header: {why}"))?);
    }
    let Some(user) = &get.user else {
        return Ok(headers);
    };
    let (user, password) =
        user.split_once(':').ok_or("--user has no colon\n  write user:password, or user: without a password")?;
    if headers.iter().any(|header| header.name() == "authorization") {
        return Err("--user and --header Authorization exclude each other".to_owned());
    }
    headers.push(Header::basic(user, password));
    Ok(headers)
}

/// A header as it is typed.
///
/// # Errors
/// What is wrong with it, and what to do.
pub(super) fn header(typed: &str) -> Result<Header, String> {
    let (name, value) =
        typed.split_once(':').ok_or("it has no colon\n  write it as 'Name: value', for example 'X-Key: abc'")?;
    Header::new(name, value).map_err(|refused| refused.to_string())
}

fn roots(get: &Get) -> Result<Roots, String> {
    if get.insecure {
        return Ok(Roots::unverified());
    }
    let Some(path) = &get.cacert else {
        return Ok(Roots::platform());
    };
    let about = |why: String| format!("--cacert {}: {why}", path.display());
    let pem = read(path).map_err(|error| about(error.to_string()))?;
    let pem = pem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&pem);
    Roots::none().and_pem(pem).map_err(|error| {
        let why = about(error.to_string());
        format!("{why}\n  name a file of certificates in PEM form: -----BEGIN CERTIFICATE-----")
    })
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_PEM_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_PEM_BYTES {
        return Err(std::io::Error::other("it is too long for a list of certificates"));
    }
    Ok(bytes)
}

/// `--proxy` serves everything but what `NO_PROXY` covers; without it each scheme has the one its variable names. As with
/// curl, an empty `--proxy` is none, an empty variable is not there, and loopback is no exception. A variable that cannot be
/// used is an error only for URLs that need it.
///
/// # Errors
/// Why `--proxy` cannot be used.
pub(crate) fn proxies(typed: Option<&str>, environment: impl Fn(&str) -> Option<String>) -> Result<Proxies, String> {
    let variable = |names: [&'static str; 2]| {
        let mut values = names.into_iter().map(|name| (name, environment(name)));
        values.find_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)))
    };
    let except = variable(["no_proxy", "NO_PROXY"]);
    let except = NoProxy::parse(&except.map(|(_, list)| list).unwrap_or_default());
    if except.is_everybody() || typed == Some("") {
        return Ok(Proxies::default());
    }
    if let Some(typed) = typed {
        let proxy = proxy("--proxy", typed);
        let proxy = proxy.map_err(|unusable| unusable_proxy(&unusable))?;
        return Ok(Proxies { http: Some(Ok(Arc::clone(&proxy))), https: Some(Ok(proxy)), except });
    }
    // Behind a web server, its clients choose HTTP_PROXY (httpoxy).
    let cgi = environment("REQUEST_METHOD").is_some();
    let http = if cgi { ["http_proxy", "http_proxy"] } else { ["http_proxy", "HTTP_PROXY"] };
    let of_scheme = |names| {
        let found = variable(names).or_else(|| variable(["all_proxy", "ALL_PROXY"]));
        found.map(|(name, text)| proxy(name, &text))
    };
    Ok(Proxies { http: of_scheme(http), https: of_scheme(["https_proxy", "HTTPS_PROXY"]), except })
}

fn proxy(named_by: &str, text: &str) -> NamedProxy {
    let proxy = Proxy::parse(text).map_err(|unusable| unusable.named_by(named_by))?;
    Ok(Arc::new(proxy))
}

/// A proxy that is needed and cannot be used, and what to do.
pub(crate) fn unusable_proxy(unusable: &ProxyUnusable) -> String {
    format!("{unusable}\n  write http://host:port, or --proxy '' to use none")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Args, Command};
    use clap::Parser;

    fn get(arguments: &[&str]) -> Get {
        let typed = ["regrip", "get", "http://a.test/x"];
        let args = Args::try_parse_from(typed.iter().chain(arguments)).unwrap();
        match args.command {
            Command::Get(get) => *get,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_environment_names_proxies_as_curl_reads_it() {
        // arguments, environment, the proxy of http, of https
        type Row<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str, &'a str);
        let table: [Row<'_>; 12] = [
            (&[], &[], "", ""),
            (&[], &[("http_proxy", "one:1")], "http://one:1", ""),
            (&[], &[("HTTP_PROXY", "one:1")], "http://one:1", ""),
            (&[], &[("HTTP_PROXY", "one:1"), ("REQUEST_METHOD", "GET")], "", ""),
            (&[], &[("HTTPS_PROXY", "two:2"), ("https_proxy", "one:1")], "", "http://one:1"),
            (&[], &[("ALL_PROXY", "all:1"), ("https_proxy", "two:2")], "http://all:1", "http://two:2"),
            (&[], &[("http_proxy", ""), ("all_proxy", "all:1")], "http://all:1", "http://all:1"),
            (&[], &[("all_proxy", "all:1"), ("NO_PROXY", "*")], "", ""),
            (&["--proxy", "mine:1"], &[("ALL_PROXY", "all:1")], "http://mine:1", "http://mine:1"),
            (&["--proxy", ""], &[("ALL_PROXY", "all:1")], "", ""),
            (&["--proxy", "mine:1"], &[("no_proxy", "*")], "", ""),
            (&["--proxy", "mine:1"], &[("ALL_PROXY", "socks5://x")], "http://mine:1", "http://mine:1"),
        ];
        for (arguments, environment, http, https) in table {
            let read = |name: &str| {
                let found = environment.iter().find(|(have, _)| *have == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let proxies = proxies(get(arguments).proxy.as_deref(), read).unwrap();
            let shown = |proxy: Option<NamedProxy>| proxy.map(|proxy| proxy.unwrap().to_string());
            let found = [proxies.http, proxies.https].map(|proxy| shown(proxy).unwrap_or_default());
            assert_eq!(found, [http, https], "{arguments:?} {environment:?}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_only_for_a_url_that_needs_it() {
        // variable, its value, NO_PROXY, URL, whether the URL needs it
        let table = [
            ("ALL_PROXY", "socks5://me:hunter2@x:1", "", "http://a.test/", true),
            ("ALL_PROXY", "socks5://me:hunter2@x:1", "", "https://a.test/", true),
            ("ALL_PROXY", "socks5://me:hunter2@x:1", "b.test,.a.test", "http://a.test/", false),
            ("ALL_PROXY", "socks5://me:hunter2@x:1", "a.test:80", "http://a.test/", false),
            ("ALL_PROXY", "socks5://me:hunter2@x:1", "a.test:81", "http://a.test/", true),
            ("ALL_PROXY", "socks5://me:hunter2@x:1", "10.0.0.0/8", "http://10.1.2.3/", false),
            ("ALL_PROXY", "socks5://me:hunter2@x:1", "*", "http://a.test/", false),
            ("https_proxy", "me:hunter2@:::", "", "http://a.test/", false),
            ("https_proxy", "me:hunter2@:::", "", "https://a.test/", true),
            ("http_proxy", "https://me:hunter2@x:1", "", "http://a.test/", true),
            ("http_proxy", "https://me:hunter2@x:1", "", "https://a.test/", false),
        ];
        for (variable, value, no_proxy, url, needed) in table {
            let read = |name: &str| match name {
                "NO_PROXY" => Some(no_proxy.to_owned()),
                name => (name == variable).then(|| value.to_owned()),
            };
            let way = proxies(None, read).unwrap().check(&url.parse().unwrap());
            let about = format!("{variable} {no_proxy} {url}: {way:?}");
            match way {
                Ok(()) => assert!(!needed, "{about}"),
                Err(unusable) => {
                    let text = unusable_proxy(&unusable);
                    assert!(needed && text.contains(variable), "{about}");
                    assert!(!text.contains("hunter2"), "{about}");
                }
            }
        }
    }
}
