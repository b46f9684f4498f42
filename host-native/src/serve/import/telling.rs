//! How telling the servers of one download went, as a line of text: what people read is what the next process reads.
//!
//! ```text
//! accepted by Films; pending at Anime: the server answered 503; failed at Old: the server answered 401
//! ```

use std::fmt;

/// How a line begins, or goes on, that has not come to its end.
pub(crate) const PENDING: &str = "pending at ";
const ACCEPTED: &str = "accepted by ";
const FAILED: &str = "failed at ";
const BETWEEN: &str = "; ";

/// How one server was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Not yet; what went wrong so far.
    Pending(Option<String>),
    /// It took the command.
    Accepted,
    /// For good.
    Failed(String),
}

/// How the servers of one download were told, each by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Telling(Vec<(String, Told)>);

impl Telling {
    /// Of these servers; what `before` says of them counts.
    pub(super) fn go_on(names: &[String], before: Option<&str>) -> Telling {
        let told = |name: &String| {
            let told = before.and_then(|before| ended(before, name));
            (name.clone(), told.unwrap_or(Told::Pending(None)))
        };
        Telling(names.iter().map(told).collect())
    }

    pub(super) fn set(&mut self, name: &str, told: Told) {
        let here = self.0.iter_mut().find(|(server, _)| server == name);
        if let Some((_, here)) = here {
            *here = told;
        }
    }

    /// Those that are still to be told.
    pub(super) fn pending(&self) -> Vec<String> {
        let pending = self
            .0
            .iter()
            .filter(|(_, told)| matches!(told, Told::Pending(_)));
        pending.map(|(name, _)| name.clone()).collect()
    }

    /// Whether one of them at least took it.
    pub(super) fn is_accepted(&self) -> bool {
        self.0.iter().any(|(_, told)| *told == Told::Accepted)
    }
}

impl fmt::Display for Telling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (name, told)) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str(BETWEEN)?;
            }
            match told {
                Told::Pending(None) => write!(f, "{PENDING}{name}")?,
                Told::Pending(Some(why)) => write!(f, "{PENDING}{name}: {}", one_line(why))?,
                Told::Accepted => write!(f, "{ACCEPTED}{name}")?,
                Told::Failed(why) => write!(f, "{FAILED}{name}: {}", one_line(why))?,
            }
        }
        Ok(())
    }
}

/// What an error says could otherwise read as the next server's line.
fn one_line(why: &str) -> String {
    why.replace(['\n', '\r'], " ").replace(BETWEEN, ", ")
}

/// What a line says of a server that was told to the end.
fn ended(line: &str, name: &str) -> Option<Told> {
    line.split(BETWEEN).find_map(|part| {
        if part.strip_prefix(ACCEPTED) == Some(name) {
            return Some(Told::Accepted);
        }
        let failed = part.strip_prefix(FAILED)?.strip_prefix(name)?;
        failed
            .strip_prefix(": ")
            .map(|why| Told::Failed(why.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn the_next_process_goes_on_with_what_was_pending() {
        let all = names(&["Films", "Anime", "Old"]);
        let mut telling = Telling::go_on(&all, None);
        assert_eq!(telling.pending(), all);
        telling.set("Films", Told::Accepted);
        telling.set(
            "Anime",
            Told::Pending(Some("503; pending at noon".to_owned())),
        );
        telling.set("Old", Told::Failed("the server\nanswered 401".to_owned()));
        let line = telling.to_string();
        assert_eq!(
            line,
            "accepted by Films; pending at Anime: 503, pending at noon; failed at Old: the server answered 401"
        );
        let again = Telling::go_on(&all, Some(&line));
        assert_eq!(again.pending(), ["Anime"]);
        assert!(again.is_accepted());
        // One that was configured since is told as well.
        let more = Telling::go_on(&names(&["Films", "New"]), Some(&line));
        assert_eq!(more.pending(), ["New"]);
    }

    #[test]
    fn a_server_whose_name_begins_like_anothers_is_not_taken_for_it() {
        let telling = Telling::go_on(
            &names(&["Film"]),
            Some("accepted by Films; failed at Films: no"),
        );
        assert_eq!(telling.pending(), ["Film"]);
    }
}
