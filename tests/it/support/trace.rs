//! Programs under strace, which lets their system calls fail or kills them there.

use std::collections::BTreeMap;
use std::path::Path;

/// System calls that change what is on the disk, or make it durable, or lock.
pub(crate) const CALLS: &str = "rename,renameat,renameat2,fsync,fdatasync,mkdir,mkdirat,unlink,\
                                unlinkat,rmdir,fchmod,fchmodat,ftruncate,flock,write,pwrite64";

/// A directory on a disk that is quick to write to, where there is one.
pub(crate) fn quick_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// How often each system call is in the file `trace` that strace wrote, in the thread that makes
/// it most often.
pub(crate) fn calls_by_thread(trace: &Path) -> BTreeMap<String, u32> {
    let mut by_thread = BTreeMap::<_, u32>::new();
    let trace = std::fs::read_to_string(trace).unwrap();
    let lines = trace.lines().filter(|line| line.contains('(') && !line.contains("resumed>"));
    for line in lines {
        let (thread, rest) = line.split_once(char::is_whitespace).unwrap();
        let call = rest.trim_start().split('(').next().unwrap();
        *by_thread.entry((call, thread)).or_default() += 1;
    }
    let mut calls = BTreeMap::new();
    for ((call, _thread), count) in by_thread {
        let most = calls.entry(call.to_owned()).or_default();
        *most = count.max(*most);
    }
    calls
}
