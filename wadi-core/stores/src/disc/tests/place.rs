//! Whose directory it is.

use super::super::OpenError;
use super::*;

fn refused(directory: &Path) -> OpenError {
    match DiscStore::open(directory, DiscSettings::new()) {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

#[test]
fn a_second_one_is_refused_and_told_what_to_do() {
    let directory = tempfile::tempdir().expect("there is room");
    let store = open(directory.path());
    let error = refused(directory.path());
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains(&directory.path().display().to_string()) && text.contains("stop"),
        "{text}"
    );
    drop(store);
    open(directory.path());
}

#[test]
fn what_others_made_is_left_alone() {
    let directory = tempfile::tempdir().expect("there is room");
    let theirs = directory.path().join("theirs.txt");
    std::fs::write(&theirs, "theirs").expect("there is room");
    let error = refused(directory.path());
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    assert!(error.to_string().contains("theirs.txt"), "{error}");
    let there: Vec<_> = std::fs::read_dir(directory.path())
        .expect("it is there")
        .collect();
    assert_eq!(there.len(), 1, "nothing was touched");
    assert_eq!(std::fs::read(theirs).expect("it is there"), b"theirs");
}

#[test]
fn another_form_is_left_alone() {
    let directory = tempfile::tempdir().expect("there is room");
    drop(open(directory.path()));
    std::fs::write(directory.path().join("wadi"), "sessions of WADI, form 2\n")
        .expect("there is room");
    let error = refused(directory.path());
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    assert!(error.to_string().contains("form 2"), "{error}");
}

#[test]
fn what_cannot_be_a_directory_is_said() {
    let directory = tempfile::tempdir().expect("there is room");
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("there is room");
    for path in [&file, &file.join("below")] {
        let error = refused(path);
        assert!(matches!(error, OpenError::NotUsable { .. }), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn nobody_else_reads_it() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("new/disc");
    let store = open(&path);
    let mode = |of: &Path| {
        std::fs::metadata(of)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("rows")), 0o700);
    assert_eq!(mode(&path.join("lock")), 0o600);
    assert_eq!(mode(&path.join("synced")), 0o600);
    drop(store);
}
