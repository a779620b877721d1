//! What the kernel keeps to itself: locks and notifications.

use std::fs::{self, File};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{FlockOperation, fcntl_lock, flock};
use rustix::io::Errno;

use crate::view::{View, python};

#[test]
fn whole_file_locks_exclude_and_outlive_copy_up() {
    let view = View::new(|lower| fs::write(lower.join("file"), b"x").unwrap());
    let open = || File::options().read(true).write(true).open(view.path("file")).unwrap();
    let (one, two) = (open(), open());
    flock(&one, FlockOperation::LockExclusive).unwrap();
    fs::write(view.path("file"), b"copied up").unwrap();
    let try_two = || flock(&two, FlockOperation::NonBlockingLockExclusive);
    assert_eq!(try_two(), Err(Errno::WOULDBLOCK));
    drop(one);
    assert_eq!(try_two(), Ok(()));
}

#[test]
fn record_locks_exclude_other_processes() {
    let view = View::new(|lower| fs::write(lower.join("file"), b"x").unwrap());
    let file = File::options().read(true).write(true).open(view.path("file")).unwrap();
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    let script = r"
import fcntl, sys
with open(sys.argv[1], 'r+') as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        print('locked')
    except OSError:
        print('refused')
";
    let path = view.path("file");
    assert_eq!(python(script, &[path.as_os_str()]), "refused\n");
    fcntl_lock(&file, FlockOperation::Unlock).unwrap();
    assert_eq!(python(script, &[path.as_os_str()]), "locked\n");
}

#[test]
fn who_watches_a_directory_hears_of_changes() {
    let view = View::new(|lower| fs::write(lower.join("file"), b"x").unwrap());
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
    let what = WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::DELETE;
    inotify::add_watch(&watch, view.root(), what).unwrap();
    fs::write(view.path("file"), b"changed").unwrap();
    fs::write(view.path("new"), b"").unwrap();
    fs::remove_file(view.path("file")).unwrap();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(&watch, &mut buffer);
    let mut heard = Vec::new();
    while let Ok(event) = reader.next() {
        heard.push((event.events(), event.file_name().unwrap().to_str().unwrap().to_owned()));
    }
    for (event, name) in
        [(ReadFlags::MODIFY, "file"), (ReadFlags::CREATE, "new"), (ReadFlags::DELETE, "file")]
    {
        assert!(heard.contains(&(event, name.to_owned())), "{event:?} of {name}: {heard:?}");
    }
}
