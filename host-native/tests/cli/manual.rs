//! What is printed about regrip itself: version, help, completions, the manual.

use crate::support::regrip;

const COMMANDS: [&str; 12] =
    ["get", "share", "list", "show", "retry", "cancel", "remove", "demo", "stub", "check-config", "completions", "man"];

#[test]
fn the_version_has_the_commit_where_git_knows_one() {
    let version = regrip(&["--version"]).out;
    let number = env!("CARGO_PKG_VERSION");
    let git =
        std::process::Command::new("git").args(["rev-parse", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let head = git.ok().filter(|git| git.status.success());
    let wanted = match head {
        Some(head) => {
            let head = String::from_utf8_lossy(&head.stdout).into_owned();
            format!("regrip {number} ({})\n", &head[..10])
        }
        None => format!("regrip {number}\n"),
    };
    assert_eq!(version, wanted);
}

#[test]
fn the_help_of_every_command_has_an_example_and_fits() {
    let all = regrip(&["--help"]);
    for command in COMMANDS {
        assert!(all.out.contains(&format!("\n  {command} ")), "{command}");
        let help = regrip(&[command, "--help"]);
        assert_eq!(help.code, Some(0));
        assert!(help.out.contains("Example"), "{command}: {}", help.out);
        let widest = help.out.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "{command}: {widest:?}");
    }
}

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = regrip(&["completions", shell]);
        assert_eq!(script.code, Some(0));
        for command in COMMANDS {
            assert!(script.out.contains(command), "{shell}: {command}");
        }
    }
    let odd = regrip(&["completions", "csh"]);
    assert_eq!(odd.code, Some(2));
    assert!(odd.err.contains("bash"), "{}", odd.err);
}

#[test]
fn the_manual_has_a_section_for_every_command_with_its_options() {
    let manual = regrip(&["man"]);
    assert_eq!(manual.code, Some(0));
    assert!(manual.out.contains(".TH regrip 1"), "{}", &manual.out[..200]);
    for command in COMMANDS {
        let section = format!(".SH \"REGRIP {}\"\n", command.to_uppercase());
        assert_eq!(manual.out.matches(&section).count(), 1, "{command}");
    }
    // roff writes a hyphen as `\-`.
    for option in ["\\-\\-checksum", "\\-\\-status", "\\-\\-retry\\-base\\-ms"] {
        assert!(manual.out.contains(option), "{option}");
    }
}
