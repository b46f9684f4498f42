//! What is known of one download's imports, and the line that is shown of them.
//!
//! ```text
//! accepted by Films; pending at Anime: the server answered 503; failed at Old: the server answered 401
//! ```

use crate::ledger::{Import, ImportState};
use std::fmt;
use std::time::SystemTime;

/// Between what is said of two servers.
const BETWEEN: &str = "; ";

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It failed, and another one follows.
    Pending(String),
    /// The server accepted it.
    Accepted,
    /// It failed for good.
    Failed(String),
}

/// The imports of one download, by server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Telling(Vec<Import>);

impl Telling {
    /// At these servers; what was accepted `before`, or failed for good, is not tried again.
    pub(super) fn go_on(names: &[String], before: &[Import]) -> Telling {
        let import = |name: &String| match before.iter().find(|import| import.server == *name) {
            Some(known) if known.state != ImportState::Pending => known.clone(),
            Some(known) => Import {
                tries: known.tries,
                ..Import::new(name)
            },
            None => Import::new(name),
        };
        Telling(names.iter().map(import).collect())
    }

    /// A command is about to be sent.
    pub(super) fn send(&mut self, name: &str) {
        self.change(name, |import| {
            import.tries = import.tries.saturating_add(1);
            import.next_try = None;
        });
    }

    /// Records the result of a command.
    pub(super) fn set(&mut self, name: &str, told: Told) {
        self.change(name, |import| {
            (import.state, import.error) = match told {
                Told::Pending(why) => (ImportState::Pending, Some(why)),
                Told::Accepted => (ImportState::Accepted, None),
                Told::Failed(why) => (ImportState::Failed, Some(why)),
            };
            import.next_try = None;
        });
    }

    /// The next command is sent at `next_try`.
    pub(super) fn wait(&mut self, name: &str, next_try: Option<SystemTime>) {
        self.change(name, |import| import.next_try = next_try);
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Import)) {
        let here = self.0.iter_mut().find(|import| import.server == name);
        if let Some(here) = here {
            change(here);
        }
    }

    /// The servers whose import is pending.
    pub(super) fn pending(&self) -> Vec<String> {
        let pending = self
            .0
            .iter()
            .filter(|import| import.state == ImportState::Pending);
        pending.map(|import| import.server.clone()).collect()
    }

    /// As the ledger keeps them.
    pub(super) fn imports(&self) -> &[Import] {
        &self.0
    }
}

/// For people: nothing is read back from it.
impl fmt::Display for Telling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, import) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str(BETWEEN)?;
            }
            let how = match import.state {
                ImportState::Pending => "pending at",
                ImportState::Accepted => "accepted by",
                ImportState::Failed => "failed at",
            };
            write!(f, "{how} {}", one_line(&import.server))?;
            if let Some(why) = &import.error {
                write!(f, ": {}", one_line(why).replace(BETWEEN, ", "))?;
            }
        }
        Ok(())
    }
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn the_next_process_goes_on_with_what_was_pending() {
        let all = names(&["Films", "Anime", "Old"]);
        let mut telling = Telling::go_on(&all, &[]);
        assert_eq!(telling.pending(), all);
        assert_eq!(
            telling.to_string(),
            "pending at Films; pending at Anime; pending at Old"
        );
        telling.send("Anime");
        telling.set("Films", Told::Accepted);
        telling.set("Anime", Told::Pending("503; pending at noon".to_owned()));
        telling.set("Old", Told::Failed("the server\nanswered 401".to_owned()));
        telling.wait("Anime", Some(UNIX_EPOCH + Duration::from_secs(1)));
        assert_eq!(
            telling.to_string(),
            "accepted by Films; pending at Anime: 503, pending at noon; failed at Old: the server answered 401"
        );
        let again = Telling::go_on(&all, telling.imports());
        assert_eq!(again.pending(), ["Anime"]);
        let anime = &again.imports()[1];
        assert_eq!(
            (anime.tries, &anime.error, anime.next_try),
            (1, &None, None)
        );
        // One that was configured since is told as well.
        let more = Telling::go_on(&names(&["Films", "New"]), telling.imports());
        assert_eq!(more.pending(), ["New"]);
    }

    #[test]
    fn a_name_that_reads_like_another_servers_line_is_that_servers_own() {
        let all = names(&[
            "Film",
            "Films",
            "Film; failed at Films: no",
            "a\r\nb",
            "\"': ",
        ]);
        let mut telling = Telling::go_on(&all, &[]);
        telling.set("Films", Told::Accepted);
        telling.set("a\r\nb", Told::Failed("no".to_owned()));
        let again = Telling::go_on(&all, telling.imports());
        assert_eq!(
            again.pending(),
            ["Film", "Film; failed at Films: no", "\"': "]
        );
        assert!(!again.to_string().contains(['\r', '\n']), "{again}");
    }
}
