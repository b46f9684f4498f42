//! A bucket in moto, and a proxy in front of it that loses, holds or replaces answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request to the storage.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With its query.
    pub(crate) target: String,
    pub(crate) head: String,
    pub(crate) bytes: usize,
}

impl Asked {
    pub(crate) fn is(&self, method: &str, in_target: &str) -> bool {
        self.method == method && self.target.contains(in_target)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.is("POST", "uploadId=")
    }
}

/// How the proxy treats a request.
pub(crate) enum Act {
    /// It is passed on, and its answer back.
    Pass,
    /// It is passed on, and the connection closed in place of the answer.
    LoseAnswer,
    /// It is not passed on; this is the answer. A 301 names another region.
    Answer(u16, String),
    /// It is passed on after this was done.
    After(Box<dyn FnOnce() + Send>),
}

type Rule = Box<dyn FnMut(&Asked) -> Act + Send>;

struct Shared {
    upstream: SocketAddr,
    rule: Mutex<Rule>,
    log: Mutex<Vec<Asked>>,
}

/// A bucket of its own, behind a proxy of its own.
pub(crate) struct Storage {
    pub(crate) bucket: String,
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Each has an access key of its own.
    runs: AtomicU32,
}

impl Storage {
    pub(crate) fn new() -> Storage {
        static BUCKETS: AtomicU32 = AtomicU32::new(0);
        let number = BUCKETS.fetch_add(1, Ordering::Relaxed);
        let bucket = format!("films-{}-{number}", std::process::id());
        let moto = std::env::var("REGRIP_TEST_S3").expect("tests/fleet/s3 starts the storage and sets REGRIP_TEST_S3");
        let upstream = moto.trim_start_matches("http://").parse().expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let rule: Mutex<Rule> = Mutex::new(Box::new(|_| Act::Pass));
        let shared = Arc::new(Shared { upstream, rule, log: Mutex::default() });
        let serving = Arc::clone(&shared);
        // It ends with the process, as its connections do.
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let serving = Arc::clone(&serving);
                std::thread::spawn(move || serve(connection, &serving));
            }
        });
        let storage = Storage { bucket, address, shared, runs: AtomicU32::new(0) };
        assert_eq!(storage.ask("PUT", "", b"").0, 200, "the bucket is made");
        storage
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets how requests are treated from now on.
    pub(crate) fn rule(&self, rule: impl FnMut(&Asked) -> Act + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    /// The requests so far that came through the proxy.
    pub(crate) fn log(&self) -> Vec<Asked> {
        self.shared.log.lock().unwrap().clone()
    }

    pub(crate) fn clear_log(&self) {
        self.shared.log.lock().unwrap().clear();
    }

    /// Number and size of each part that the last run sent. What a killed one had sent may arrive later.
    pub(crate) fn parts_sent(&self) -> Vec<(usize, usize)> {
        let key = format!("Credential=run-{}%2F", self.runs.load(Ordering::Relaxed));
        let is_part = |asked: &Asked| asked.is("PUT", "partNumber=") && asked.target.contains(&key);
        let mut parts: Vec<_> = self.log().into_iter().filter(is_part).collect();
        let number = |asked: &Asked| asked.target.split("partNumber=").nth(1)?.split('&').next()?.parse().ok();
        parts.sort_by_key(number);
        parts.iter().map(|asked| (number(asked).expect("a number"), asked.bytes)).collect()
    }

    pub(crate) fn count(&self, wanted: impl Fn(&Asked) -> bool) -> usize {
        self.log().iter().filter(|asked| wanted(asked)).count()
    }

    /// Asks moto itself, below the bucket.
    pub(crate) fn ask(&self, method: &str, below: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let target = format!("/{}{below}", self.bucket);
        // It takes whoever signs for the owner, and looks at no signature.
        let signed =
            "AWS4-HMAC-SHA256 Credential=test/20261129/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x";
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: moto\r\nAuthorization: {signed}\r\nContent-Length: {length}\r\n"
        );
        let answer = exchange(self.shared.upstream, &head, body).expect("moto answers");
        let end = head_end(&answer).expect("a head");
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect("a status"), head, answer[end..].to_vec())
    }

    pub(crate) fn object(&self, key: &str) -> Option<Vec<u8>> {
        let (status, _, body) = self.ask("GET", &format!("/{key}"), b"");
        (status == 200).then_some(body)
    }

    /// How many uploads are not completed.
    pub(crate) fn uploads(&self) -> usize {
        let (_, _, body) = self.ask("GET", "?uploads", b"");
        String::from_utf8_lossy(&body).matches("<UploadId>").count()
    }

    /// Sets the environment of a command so that it uses the storage.
    pub(crate) fn environment(&self, command: &mut Command) {
        command
            .env("AWS_ACCESS_KEY_ID", format!("run-{}", self.runs.fetch_add(1, Ordering::Relaxed) + 1))
            .env("AWS_SECRET_ACCESS_KEY", "hunter2")
            .env("AWS_ENDPOINT_URL", self.endpoint())
            .env_remove("AWS_REGION")
            .env_remove("AWS_DEFAULT_REGION")
            .env_remove("AWS_SESSION_TOKEN")
            .env_remove("AWS_ENDPOINT_URL_S3");
    }

    /// Waits until the log fulfils a condition.
    pub(crate) fn wait(&self, until: impl Fn(&[Asked]) -> bool) {
        for _ in 0..60_000 {
            if until(&self.log()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("not within a minute: {:?}", self.log());
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// Sends a request on a connection of its own, and reads the answer to the end of that.
fn exchange(to: SocketAddr, head: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut connection = TcpStream::connect(to)?;
    connection.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
    connection.write_all(body)?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Serves one request; the answer ends with the connection.
fn serve(mut connection: TcpStream, shared: &Shared) {
    let mut bytes = Vec::new();
    let mut block = vec![0; 1 << 16];
    let end = loop {
        if let Some(end) = head_end(&bytes) {
            break end;
        }
        match connection.read(&mut block) {
            Ok(read @ 1..) => bytes.extend_from_slice(&block[..read]),
            _ => return,
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = bytes.split_off(end);
    while body.len() < length.unwrap_or(0) {
        match connection.read(&mut block) {
            Ok(read @ 1..) => body.extend_from_slice(&block[..read]),
            _ => return,
        }
    }
    let mut words = head.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let asked = Asked { method: word(), target: word(), head: head.to_lowercase(), bytes: body.len() };
    let act = (shared.rule.lock().unwrap())(&asked);
    let kept: Vec<&str> = head.lines().filter(|line| !line.to_lowercase().starts_with("connection:")).collect();
    let onward = || exchange(shared.upstream, &format!("{}\r\n", kept.join("\r\n").trim_end()), &body);
    let answer = match act {
        Act::Pass => onward().ok(),
        Act::LoseAnswer => onward().ok().and(None),
        Act::After(first) => {
            first();
            onward().ok()
        }
        Act::Answer(status, text) => {
            let length = text.len();
            let region = if status == 301 { "x-amz-bucket-region: eu-central-1\r\n" } else { "" };
            let head = format!("HTTP/1.1 {status} X\r\n{region}Content-Length: {length}\r\nConnection: close\r\n");
            Some(format!("{head}\r\n{text}").into_bytes())
        }
    };
    // After the answer is there: whoever waits for the request in the log finds its effect in moto.
    shared.log.lock().unwrap().push(asked);
    if let Some(answer) = answer {
        let _ = connection.write_all(&answer);
    }
}

/// An error document.
pub(crate) fn error(code: &str) -> String {
    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>by a test</Message></Error>")
}
