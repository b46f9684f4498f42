//! `regrip check-config`.

use crate::support::Ran;
use std::process::Command;

fn check(text: &str, option: &[&str]) -> Ran {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("config.jsonc"), text).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_regrip"));
    command.current_dir(folder.path()).arg("check-config").args(option);
    command.arg("config.jsonc").env("ANNA_KEY", "hush");
    Ran::of(command.output().expect("regrip runs"))
}

#[test]
fn a_configuration_is_summed_up_without_its_secrets() {
    let text = r#"{
        "downloads": {"watchPath": "/watch", "completedPath": "/done"},
        "regrip": {"listen": "0.0.0.0:80", "apiKey": "hush", "dataDir": "/data", "odd": 1},
        "peers": [{"name": "Anna", "url": "http://peer.example:5225", "apiKey": {"env": "ANNA_KEY"}, "headers": {"X-A": "hush"}}],
        "servers": [{"type": "radarr", "url": "http://nas/radarr"}],
        "share": ["/films"],
        "hooks": {"onComplete": "curl -H hush", "onFail": "x"},
    }"#;
    for option in [&[][..], &["--config"]] {
        let ran = check(text, option);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let expected = "\
watch      /watch
completed  /done
listen     0.0.0.0:80, with an apiKey
data       /data
peer       Anna (6a7d8929) at http://peer.example:5225, with an apiKey and 1 header
radarr     radarr at http://nas/radarr, no headers
share      /films
onComplete a command, a string of 12 characters
onFail     a command, a string of 1 character
";
        assert_eq!(ran.out, expected);
        let warning = "regrip: warning: config.jsonc: line 3: regrip.odd: is unknown and is ignored\n";
        assert_eq!(ran.err, warning);
    }
}

#[test]
fn a_wrong_configuration_is_exit_2() {
    let ran = check("{\n\"downloads\": {\"watchPath\": 1},\n\"odd\": {}}", &[]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
    let expected = "\
regrip: warning: config.jsonc: line 3: odd: is unknown and is ignored
regrip: config.jsonc: line 2: downloads.completedPath: found nothing, expected the folder that files go to
";
    assert!(ran.err.starts_with(expected), "{}", ran.err);
    let ran = check("{}", &["missing.jsonc", "--config"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
}
