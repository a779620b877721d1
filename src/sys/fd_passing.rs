//! File descriptors that come through a socket (`SCM_RIGHTS`, unix(7)).

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::{Error, Result};

/// Waits for one message with a file descriptor, which is marked close-on-exec.
///
/// `None` when the other end closed the socket, or sent a message without one.
///
/// # Errors
/// Those of recvmsg(2).
pub fn receive_fd(socket: &UnixStream) -> Result<Option<OwnedFd>> {
    let mut byte = [0u8; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    loop {
        let mut parts = [IoSliceMut::new(&mut byte)];
        match rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => {
                return Err(Error::new("recvmsg", format!("{socket:?}"), errno.raw_os_error()));
            }
        }
    }
    let fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    Ok(fds.flatten().next())
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Read as _, Seek as _, Write as _};
    use std::mem::MaybeUninit;
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

    #[test]
    fn the_descriptor_that_was_sent_is_received() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"hello").unwrap();
        file.rewind().unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        let fds = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        let parts = [IoSlice::new(b"x")];
        rustix::net::sendmsg(&far, &parts, &mut control, SendFlags::empty()).unwrap();
        let fd = super::receive_fd(&near).unwrap().expect("a descriptor");
        let mut text = String::new();
        std::fs::File::from(fd).read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[test]
    fn a_closed_socket_gives_none() {
        let (near, far) = UnixStream::pair().unwrap();
        drop(far);
        assert!(super::receive_fd(&near).unwrap().is_none());
    }
}
