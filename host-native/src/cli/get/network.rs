//! What the arguments of `get` and the environment say about the network: headers, credentials, trust, addresses, proxies,
//! the rate. Whatever is wrong with them is found here, before anything is written. No value of a header, no password and no
//! URL of a proxy is repeated in an error.

use super::target::Target;
use crate::cli::args::Get;
use crate::cli::report::Reporter;
use crate::control::Userinfo;
use crate::text_file;
use crate::transport::{
    CookieJar, Credentials, Header, Identity, Origin, Proxies, Proxy, ProxyUnusable, Roots, Trace, TransportOptions,
};
use regrip_core::DownloadsConfig;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use url::{Host, Url};

/// Longest file that an option names.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The headers that follow a redirect to another origin, and go to a mirror there.
const FOLLOWS: [&str; 4] = ["user-agent", "referer", "accept", "accept-language"];

/// What the arguments mean.
#[derive(Debug)]
pub(crate) struct NetworkOptions {
    /// For every target, without timeouts and logins.
    transport: TransportOptions,
    /// No entries if the headers have an Authorization.
    netrc: Netrc,
    identity: Option<Identity>,
    verbose: bool,
}

/// Reads the arguments and, by name, the environment.
///
/// # Errors
/// One or two lines: what was wrong, and what to do.
pub(crate) fn network(get: &Get, environment: impl Fn(&str) -> Option<String>) -> Result<NetworkOptions, String> {
    let headers = headers(get)?;
    let mut netrc = netrc(get, &environment)?;
    netrc.retain(|_| !has(&headers, "authorization"));
    let transport = TransportOptions {
        headers,
        cookies: cookies(get)?,
        roots: roots(get)?,
        resolve: resolve(get)?,
        ipv6: (get.ipv4 || get.ipv6).then_some(get.ipv6),
        proxies: proxies(get.proxy.as_deref(), environment)?,
        bytes_per_second: get.limit_rate,
        ..TransportOptions::default()
    };
    Ok(NetworkOptions { transport, netrc, identity: identity(get)?, verbose: get.verbose })
}

impl NetworkOptions {
    /// Checks that there is a way to every target.
    ///
    /// # Errors
    /// Two lines: which proxy cannot be used though a target needs it, and what to do.
    pub(crate) fn check(&self, targets: &[Target]) -> Result<(), String> {
        let mirrors = targets.iter().flat_map(|target| target.mirrors.iter().map(|(url, _)| url));
        let urls = targets.iter().map(|target| &target.url).chain(mirrors);
        let mut ways = urls.map(|url| self.transport.proxies.check(url));
        ways.try_for_each(|way| way.map_err(|unusable| unusable_proxy(&unusable)))
    }

    /// The headers that a target's requests carry beside regrip's own, by name: what its row keeps of them.
    pub(crate) fn header_names(&self, target: &Target) -> Vec<String> {
        let given = self.transport.headers.iter().chain(&target.headers).map(|header| header.name().to_owned());
        let login = self.login(target).map(|_| "authorization".to_owned());
        let cookies = self.transport.cookies.has_any_for(&target.url).then(|| "cookie".to_owned());
        let names: BTreeSet<String> = given.chain(login).chain(cookies).collect();
        names.into_iter().collect()
    }

    /// User and password of a target: those of its URL, else those that the netrc file has for its host.
    fn login(&self, target: &Target) -> Option<Header> {
        self.login_of(&target.url, target.userinfo.as_ref())
    }

    fn login_of(&self, url: &Url, userinfo: Option<&Userinfo>) -> Option<Header> {
        if let Some((user, password)) = userinfo {
            return Some(Header::basic(user, password));
        }
        let host = url.host_str()?.trim_matches(['[', ']']);
        let is_for = |machine: &Option<String>| machine.as_deref().is_none_or(|machine| machine == host);
        self.netrc.iter().find(|(machine, _)| is_for(machine)).map(|(_, login)| login.clone())
    }

    /// What a transport for these targets is built from. Userinfo of a URL goes to that URL and nowhere else, and is kept in
    /// memory only.
    pub(crate) fn options(
        &self,
        config: &DownloadsConfig,
        targets: &[Target],
        reporter: &Arc<dyn Reporter>,
    ) -> TransportOptions {
        let TransportOptions { connect_timeout, headers_timeout, .. } = TransportOptions::new(config);
        let mut options = TransportOptions { connect_timeout, headers_timeout, ..self.transport.clone() };
        let trusted = || targets.iter().filter_map(|target| target.trusted.as_ref());
        let origins = || trusted().filter_map(Origin::of).collect::<HashSet<_>>();
        options.identity = self.identity.clone().map(|identity| (identity, origins()));
        if self.verbose {
            let reporter = Arc::clone(reporter);
            options.trace = Trace::new(move |lines| reporter.note(&lines.join("\n")));
        }
        let is_untrusted = |target: &Target| !target.mirrors.is_empty() || target.trusted.as_ref() != Some(&target.url);
        if targets.iter().any(is_untrusted) {
            // A mirror or a source of a document gets no more of them at another origin than a redirect to it does.
            let is_public = |header: &Header| FOLLOWS.contains(&header.name());
            let (public, private): (Vec<_>, Vec<_>) = options.headers.drain(..).partition(is_public);
            options.headers = public;
            let own = origins().into_iter().map(|origin| Credentials { origin, headers: private.clone() });
            options.credentials.extend(own);
        }
        for target in targets {
            for (url, userinfo) in &target.mirrors {
                if let Some(login) = self.login_of(url, userinfo.as_ref()) {
                    options.header_of(url, login);
                }
            }
            if let Some(login) = self.login(target) {
                options.header_of(&target.url, login);
            }
            for header in &target.headers {
                if let Some(url) = &target.trusted {
                    options.header_of(url, header.clone());
                }
            }
        }
        options
    }
}

/// The headers of all options. As with curl, one of `--header` replaces what another option says of the same name.
fn headers(get: &Get) -> Result<Vec<Header>, String> {
    let mut headers = Vec::new();
    for typed in &get.headers {
        match typed.strip_prefix('@') {
            None => headers.push(header(typed).map_err(|why| format!("--header: {why}"))?),
            Some("-") if get.input.as_deref() == Some(Path::new("-")) => {
                return Err("-i - and --header @- exclude each other: there is one standard input".to_owned());
            }
            Some(file) => headers.extend(headers_of_file(file).map_err(|why| format!("--header @{file}{why}"))?),
        }
    }
    let cookies = get.cookie.as_ref().filter(|cookies| cookies.contains('='));
    let named = [
        ("--user-agent", "user-agent", get.user_agent.as_ref()),
        ("--referer", "referer", get.referer.as_ref()),
        ("--cookie", "cookie", cookies),
    ];
    for (option, name, value) in named {
        if let Some(value) = value.filter(|_| !has(&headers, name)) {
            headers.push(Header::new(name, value).map_err(|refused| format!("{option}: {}", refused.why))?);
        }
    }
    let Some(user) = &get.user else {
        return Ok(headers);
    };
    let (user, password) =
        user.split_once(':').ok_or("--user has no colon\n  write user:password, or user: without a password")?;
    if has(&headers, "authorization") {
        return Err("--user and --header Authorization exclude each other".to_owned());
    }
    headers.push(Header::basic(user, password));
    Ok(headers)
}

fn has(headers: &[Header], name: &str) -> bool {
    headers.iter().any(|header| header.name() == name)
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

/// The headers in a file, one per line; blank lines and comments are ignored.
fn headers_of_file(file: &str) -> Result<Vec<Header>, String> {
    let bytes = if file == "-" { read_all(io::stdin()) } else { read(Path::new(file)) };
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8")));
    let text = text.map_err(|error| format!(": {error}"))?;
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(index, line)| header(line).map_err(|why| format!(", line {}: {why}", index + 1))).collect()
}

/// The cookies of `--cookie FILE`.
fn cookies(get: &Get) -> Result<CookieJar, String> {
    let Some(file) = get.cookie.as_ref().filter(|typed| !typed.is_empty() && !typed.contains('=')) else {
        return Ok(CookieJar::default());
    };
    // It may be a secret if there is no such file.
    let advice = "write 'name=value; ...', or name a cookie file in Netscape's format";
    let bytes =
        read(Path::new(file)).map_err(|error| format!("--cookie has no = and names no file: {error}\n  {advice}"))?;
    CookieJar::parse(&bytes).map_err(|error| format!("--cookie {file}: {error}\n  {advice}"))
}

/// The entries of a netrc file, in order: host (`None` for any) and login.
type Netrc = Vec<(Option<String>, Header)>;

const NO_MACHINE: &str = "expected lines of the form: machine HOST login USER password PASSWORD";

/// Reads a netrc file as curl does. Words that it does not know are ignored.
///
/// # Errors
/// What is wrong, without a word of the file.
fn parse_netrc(text: &str) -> Result<Netrc, String> {
    let mut entries: Vec<(Option<String>, Option<String>, String)> = Vec::new();
    // The keyword whose value is next, also if that is on another line.
    let mut keyword = None;
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let wrong = |why| format!("line {}: {why}", index + 1);
        let mut rest = line.trim_start();
        while !rest.is_empty() && (keyword.is_some() || !rest.starts_with('#')) {
            let (word, behind) = netrc_word(rest).ok_or_else(|| wrong("a quoted value does not end"))?;
            rest = behind;
            let before: Option<String> = keyword.take();
            match (before.as_deref(), word.as_str(), entries.last_mut()) {
                (None, "default", _) => entries.push((None, None, String::new())),
                (None, "machine" | "login" | "password" | "account" | "macdef", _) => keyword = Some(word),
                (Some("machine"), ..) => entries.push((Some(word.to_lowercase()), None, String::new())),
                // A macro ends at a blank line.
                (Some("macdef"), ..) => {
                    let _ = lines.by_ref().find(|(_, line)| line.trim().is_empty());
                    rest = "";
                }
                (Some("login"), _, Some((_, user, _))) => *user = Some(word),
                (Some("password"), _, Some((_, _, password))) => *password = word,
                (_, _, Some(_)) => {}
                (_, _, None) => return Err(wrong(NO_MACHINE)),
            }
        }
    }
    if keyword.is_some() {
        return Err("the last word needs a value behind it".to_owned());
    }
    let logins =
        entries.into_iter().filter_map(|(host, user, password)| Some((host, Header::basic(&user?, &password))));
    Ok(logins.collect())
}

/// The first word of a text, and what is behind it; `None` if it is quoted and the quote does not end. Within quotes, a
/// backslash escapes.
fn netrc_word(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, behind) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
        return Some((word.to_owned(), behind.trim_start()));
    };
    let mut word = String::new();
    let mut letters = quoted.chars();
    loop {
        match letters.next()? {
            '"' => return Some((word, letters.as_str().trim_start())),
            '\\' => word.push(letters.next()?),
            letter => word.push(letter),
        }
    }
}

fn netrc(get: &Get, environment: impl Fn(&str) -> Option<String>) -> Result<Netrc, String> {
    let usual = || environment("NETRC").or_else(|| Some(format!("{}/.netrc", environment("HOME")?)));
    let path = match (&get.netrc_file, get.netrc) {
        (Some(path), _) => path.clone(),
        (None, false) => return Ok(Netrc::default()),
        (None, true) => {
            usual().map(PathBuf::from).ok_or("--netrc: neither NETRC nor HOME is set\n  use --netrc-file")?
        }
    };
    let about = |why: String| format!("--netrc: {}: {why}", path.display());
    let bytes = read(&path).map_err(|error| about(error.to_string()))?;
    let is_shared = path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o044 != 0);
    if is_shared && !get.quiet {
        let path = path.display();
        say!("regrip: warning: other users can read the passwords in {path}\n  chmod 600 {path}");
    }
    let text = String::from_utf8(bytes).map_err(|_| about("it is not UTF-8".to_owned()))?;
    parse_netrc(&text).map_err(about)
}

/// The addresses of `--resolve`.
fn resolve(get: &Get) -> Result<HashMap<(String, u16), Vec<IpAddr>>, String> {
    let entries = get.resolve.iter().map(|typed| {
        let advice = "write HOST:PORT:ADDRESS with the name of a host, for example example.org:443:127.0.0.1";
        resolve_entry(typed).ok_or_else(|| format!("--resolve has a value that cannot be read\n  {advice}"))
    });
    entries.collect()
}

fn resolve_entry(typed: &str) -> Option<((String, u16), Vec<IpAddr>)> {
    // curl's mark for an entry that times out.
    let typed = typed.strip_prefix('+').unwrap_or(typed);
    let (host, (port, addresses)) =
        typed.split_once(':').and_then(|(host, rest)| Some((host, rest.split_once(':')?)))?;
    let host = match Host::parse(host) {
        _ if host == "*" => host.to_owned(),
        Ok(Host::Domain(name)) => name,
        _ => return None,
    };
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let address = |text: &str| {
        let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        inside.unwrap_or(text).parse().ok()
    };
    Some(((host, port), addresses.split(',').map(address).collect::<Option<_>>()?))
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
    Roots::none().and_pem(&pem).map_err(|error| {
        let why = about(error.to_string());
        format!("{why}\n  name a file of certificates in PEM form: -----BEGIN CERTIFICATE-----")
    })
}

/// The certificate of `--cert` with its key.
fn identity(get: &Get) -> Result<Option<Identity>, String> {
    let Some(cert) = &get.cert else {
        return Ok(None);
    };
    let read = |option: &str, path: &Path| {
        // curl's FILE:PASSWORD is not repeated.
        let path = path.display().to_string();
        let named = path.split_once(':').map_or(path.as_str(), |(file, _)| file);
        read(Path::new(&path)).map_err(|error| format!("{option} {named}: {error}"))
    };
    let certificates = read("--cert", cert)?;
    let key = get.key.as_ref().map(|key| read("--key", key)).transpose()?;
    let identity = Identity::from_pem(&certificates, key.as_ref().unwrap_or(&certificates));
    let files = [Some(cert), get.key.as_ref()].into_iter().flatten().map(|path| path.display().to_string());
    identity.map(Some).map_err(|error| format!("--cert {}: {error}", files.collect::<Vec<_>>().join(" --key ")))
}

/// Reads a file that an option names, without a byte order mark before it.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_all(File::open(path)?)
}

fn read_all(file: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = text_file::bytes(file, MAX_FILE_BYTES)?;
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
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
    let of_environment = Proxies::of_environment(environment);
    if of_environment.except.is_everybody() || typed == Some("") {
        return Ok(Proxies::default());
    }
    let Some(typed) = typed else {
        return Ok(of_environment);
    };
    let proxy = Proxy::parse(typed).map_err(|unusable| unusable_proxy(&unusable.named_by("--proxy")))?;
    let proxy = Arc::new(proxy);
    Ok(Proxies { http: Some(Ok(Arc::clone(&proxy))), https: Some(Ok(proxy)), ..of_environment })
}

/// A proxy that is needed and cannot be used, and what to do.
pub(crate) fn unusable_proxy(unusable: &ProxyUnusable) -> String {
    format!("{unusable}\n  write http://host:port or socks5h://host:port, or --proxy '' to use none")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Args, Command};
    use crate::transport::NamedProxy;
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
        let table: [Row<'_>; 13] = [
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
            (&["--proxy", "mine:1"], &[("ALL_PROXY", "socks4://x")], "http://mine:1", "http://mine:1"),
            (&[], &[("ALL_PROXY", "socks5h://all")], "socks5h://all:1080", "socks5h://all:1080"),
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
            ("ALL_PROXY", "socks4://me:hunter2@x:1", "", "http://a.test/", true),
            ("ALL_PROXY", "socks4://me:hunter2@x:1", "", "https://a.test/", true),
            ("ALL_PROXY", "socks4://me:hunter2@x:1", "b.test,.a.test", "http://a.test/", false),
            ("ALL_PROXY", "socks4://me:hunter2@x:1", "a.test:80", "http://a.test/", false),
            ("ALL_PROXY", "socks4://me:hunter2@x:1", "a.test:81", "http://a.test/", true),
            ("ALL_PROXY", "socks4://me:hunter2@x:1", "10.0.0.0/8", "http://10.1.2.3/", false),
            ("ALL_PROXY", "socks4://me:hunter2@x:1", "*", "http://a.test/", false),
            ("https_proxy", "me:hunter2@:::", "", "http://a.test/", false),
            ("https_proxy", "me:hunter2@:::", "", "https://a.test/", true),
            ("http_proxy", "ftp://me:hunter2@x:1", "", "http://a.test/", true),
            ("http_proxy", "ftp://me:hunter2@x:1", "", "https://a.test/", false),
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
