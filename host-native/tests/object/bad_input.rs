//! What is wrong with the storage or with the arguments is said before anything is fetched.

use crate::storage::{Act, Storage, error};
use crate::support::{Bench, Ran};
use regrip_faultd::{FileScript, Script, Version};

fn bench() -> Bench {
    Bench::serving(Script::one("/film", FileScript::honest(Version::new(1, 1000).etag("\"v1\""))))
}

/// Runs it with a destination and options, and the environment changed: an empty value takes a variable away.
fn run(storage: &Storage, destination: &str, options: &[&str], environment: &[(&str, &str)]) -> Ran {
    let bench = bench();
    let url = bench.url("/film");
    let mut command = bench.get(&[&[url.as_str(), "-o", destination, "--max-attempts", "2"], options].concat());
    storage.environment(&mut command);
    for (name, value) in environment {
        command.env(name, value);
    }
    let ran = Ran::of(command.output().expect("regrip runs"));
    assert_eq!(bench.ranges("/film"), [], "the source was asked: {ran:?}");
    assert!(!ran.err.contains("hunter2"), "{ran:?}");
    ran
}

#[test]
fn settings_that_are_missing_or_wrong_are_named() {
    let storage = Storage::new();
    let name = format!("s3://{}/film", storage.bucket);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let closed = format!("http://{closed}");
    // variables, exit code, what is named
    type Row<'a> = (&'a [(&'a str, &'a str)], i32, &'a str);
    let table: [Row<'_>; 7] = [
        (&[("AWS_ACCESS_KEY_ID", "")], 2, "AWS_ACCESS_KEY_ID"),
        (&[("AWS_SECRET_ACCESS_KEY", "")], 2, "AWS_SECRET_ACCESS_KEY"),
        (&[("AWS_ENDPOINT_URL", "")], 2, "AWS_REGION"),
        (&[("AWS_ENDPOINT_URL", "moto")], 2, "AWS_ENDPOINT_URL"),
        (&[("AWS_REGION", "not a region")], 2, "AWS_REGION"),
        (&[("AWS_ENDPOINT_URL", &closed)], 3, "connection failed"),
        (&[("AWS_ENDPOINT_URL", "http://unknown.invalid")], 3, "unknown.invalid"),
    ];
    for (environment, code, text) in table {
        let ran = run(&storage, &name, &[], environment);
        assert_eq!(ran.code, Some(code), "{environment:?} {ran:?}");
        assert!(ran.err.contains(text), "{environment:?} {ran:?}");
    }
    let ran = run(&storage, "s3://no-such-bucket/film", &[], &[]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("no-such-bucket") && ran.err.contains("NoSuchBucket"), "{ran:?}");
}

#[test]
fn what_the_storage_refuses_is_said_with_its_words() {
    let storage = Storage::new();
    let name = format!("s3://{}/film", storage.bucket);
    for (status, body, text) in [
        (403, error("InvalidAccessKeyId"), "403 InvalidAccessKeyId: by a test"),
        (403, error("SignatureDoesNotMatch"), "403 SignatureDoesNotMatch"),
        (400, error("AuthorizationHeaderMalformed"), "region us-east-1"),
        (
            301,
            error("PermanentRedirect"),
            "301 PermanentRedirect: by a test (the bucket is in the region eu-central-1)",
        ),
        (301, String::new(), "301 PermanentRedirect: the bucket is in the region eu-central-1"),
        (501, error("NotImplemented"), "does not support multipart uploads"),
        (405, String::new(), "does not support multipart uploads"),
        (200, "<html></html>".to_owned(), "does not support multipart uploads"),
        (404, "<html></html>".to_owned(), "no S3 service answers at"),
        (500, String::new(), "the storage answered 500"),
    ] {
        storage.rule(move |_| Act::Answer(status, body.clone()));
        let ran = run(&storage, &name, &[], &[]);
        assert_eq!(ran.code, Some(3), "{status} {ran:?}");
        assert!(ran.err.contains(text), "{status} {ran:?}");
    }
}

#[test]
fn destinations_that_name_no_object_and_options_for_files_are_refused() {
    let storage = Storage::new();
    let bucket = &storage.bucket;
    for destination in
        ["s3://", "s3://films", "s3://films/", "s3://films/../other/film", "s3://films//film", "s3://f/film"]
    {
        let ran = run(&storage, destination, &[], &[]);
        assert_eq!(ran.code, Some(2), "{destination}: {ran:?}");
    }
    for option in [&["--adopt-part"][..], &["--remote-time"], &["--file-mode", "640"]] {
        let ran = run(&storage, &format!("s3://{bucket}/film"), option, &[]);
        assert_eq!(ran.code, Some(2), "{option:?}: {ran:?}");
        assert!(ran.err.contains(option[0]), "{ran:?}");
    }
    let ran = run(&storage, &format!("s3://{bucket}/film"), &["--dry-run"], &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("object storage"), "{ran:?}");
    assert_eq!(storage.count(|_| true), 0, "the storage was asked");
}
