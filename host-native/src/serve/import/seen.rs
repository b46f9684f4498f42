//! Where a finished file is, as an import server sees it.
//!
//! Radarr and Sonarr parse the name of the path that they are given and know nothing else of the release, so the path is
//! the file's own, never that of the folder of all files.

use regrip_core::Error;
use std::path::Path;

/// The path of `file` for a server that sees the folder `completed` at `import_path`, or at the same path without one.
///
/// # Errors
/// `Protocol` if the file is not below `completed` and so `import_path` does not lead to it.
pub(super) fn seen(
    file: &str,
    completed: &Path,
    import_path: Option<&str>,
) -> Result<String, Error> {
    let path = Path::new(file);
    // A row has its folder's canonical path, the configuration may name it by a link.
    let below = path.strip_prefix(completed).ok().or_else(|| {
        let canonical = completed.canonicalize().ok()?;
        path.strip_prefix(canonical).ok()
    });
    match (below, import_path) {
        (Some(below), Some(root)) => Ok(join(root, below)),
        (Some(below), None) => Ok(completed.join(below).display().to_string()),
        (None, None) => Ok(file.to_owned()),
        (None, Some(_)) => Err(Error::Protocol(format!(
            "{file} is not below downloads.completedPath, so importPath does not lead to it"
        ))),
    }
}

/// Joins in the style of `root`, which may be a path of Windows.
fn join(root: &str, below: &Path) -> String {
    let separator = separator(root);
    let mut joined = root.trim_end_matches(separator).to_owned();
    for name in below.iter() {
        joined.push(separator);
        joined.push_str(&name.to_string_lossy());
    }
    joined
}

/// `\` for `\\host\share`, `D:\films`, `D:` and `films\new`, else `/`.
fn separator(root: &str) -> char {
    let is_unix = root.starts_with('/');
    let is_bare_drive = matches!(root.as_bytes(), [letter, b':'] if letter.is_ascii_alphabetic());
    match !is_unix && (root.contains('\\') || is_bare_drive) {
        true => '\\',
        false => '/',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_as_the_server_sees_it_with_the_separator_of_its_system() {
        let completed = Path::new("/srv/completed");
        let table = [
            (None, "/srv/completed/films/Film.mkv"),
            (Some("/data"), "/data/films/Film.mkv"),
            (Some("/data/"), "/data/films/Film.mkv"),
            (Some("/"), "/films/Film.mkv"),
            (Some("/odd\\name"), "/odd\\name/films/Film.mkv"),
            (Some("\\\\nas\\films"), "\\\\nas\\films\\films\\Film.mkv"),
            (Some("\\\\nas\\films\\"), "\\\\nas\\films\\films\\Film.mkv"),
            (Some("D:\\"), "D:\\films\\Film.mkv"),
            (Some("D:"), "D:\\films\\Film.mkv"),
            (Some("D:\\new films"), "D:\\new films\\films\\Film.mkv"),
            (Some("D:/films"), "D:/films/films/Film.mkv"),
        ];
        for (import_path, wanted) in table {
            let found = seen("/srv/completed/films/Film.mkv", completed, import_path);
            assert_eq!(found.unwrap(), wanted, "{import_path:?}");
        }
    }

    #[test]
    fn a_completed_folder_that_is_named_by_a_link_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("disk 2");
        std::fs::create_dir(&real).unwrap();
        let link = folder.path().join("completed");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let file = real.canonicalize().unwrap().join("Film.mkv");
        let file = file.to_str().unwrap();
        assert_eq!(seen(file, &link, Some("/data")).unwrap(), "/data/Film.mkv");
        let itself = link.join("Film.mkv").display().to_string();
        assert_eq!(seen(file, &link, None).unwrap(), itself);
    }

    #[test]
    fn a_file_elsewhere_is_named_by_its_own_path_or_not_at_all() {
        let completed = Path::new("/srv/completed");
        let file = "/srv/completed 2/Film.mkv";
        assert_eq!(seen(file, completed, None).unwrap(), file);
        assert!(seen(file, completed, Some("/data")).is_err());
    }
}
