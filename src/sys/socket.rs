//! Sockets between the processes of one program, waiting on many descriptors, and the loopback
//! interface.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use super::{Error, Result};

/// The largest message, in bytes.
pub const MAX_MESSAGE: usize = 16 * 1024;

/// What came in one message.
#[derive(Debug)]
pub struct Received {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The descriptor that came with it.
    pub fd: Option<OwnedFd>,
}

/// Two connected sockets that keep messages apart and in order.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|e| Error::new("socketpair", "AF_UNIX", e.raw_os_error()))
}

/// A pipe: the end to read from, the end to write to.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|e| Error::new("pipe2", "", e.raw_os_error()))
}

/// Sends one message, with a copy of a descriptor.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<_> = fd.into_iter().collect();
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    }
    let parts = [IoSlice::new(bytes)];
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket, &parts, &mut ancillary, SendFlags::NOSIGNAL)
    })
    .map(drop)
    .map_err(|e| Error::new("sendmsg", format!("{} bytes", bytes.len()), e.raw_os_error()))
}

/// Takes the next message; `None` when the other side is closed.
pub fn receive(socket: BorrowedFd<'_>) -> Result<Option<Received>> {
    let failed = |e: Errno| Error::new("recvmsg", "", e.raw_os_error());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let message = loop {
        match rustix::net::recvmsg(socket, &mut parts, &mut ancillary, flags) {
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok(None),
            other => break other.map_err(failed)?,
        }
    };
    if message.flags.contains(ReturnFlags::TRUNC) {
        return Err(Error::new("recvmsg", "a message that is too long", libc::EMSGSIZE));
    }
    let fd = ancillary.drain().find_map(|part| match part {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    bytes.truncate(message.bytes);
    Ok((message.bytes > 0).then_some(Received { bytes, fd }))
}

/// What to wait for on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// There is something to read, or the end of it.
    Readable,
    /// There is room to write, or the other side is gone.
    Writable,
}

/// Waits until one of the descriptors is ready, and says which are.
pub fn wait(fds: &[(BorrowedFd<'_>, Until)]) -> Result<Vec<bool>> {
    let mut polled: Vec<_> = fds
        .iter()
        .map(|(fd, until)| {
            let flags = match until {
                Until::Readable => PollFlags::IN,
                Until::Writable => PollFlags::OUT,
            };
            PollFd::from_borrowed_fd(*fd, flags)
        })
        .collect();
    match rustix::event::poll(&mut polled, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(e) => {
            let args = format!("{} descriptors", fds.len());
            return Err(Error::new("poll", args, e.raw_os_error()));
        }
    }
    Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect())
}

/// Reads what there is. `None` when nothing is there yet; 0 at the end, and from a terminal that
/// nobody holds open any more.
pub fn read(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<Option<usize>> {
    match rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut *buf)) {
        Ok(len) => Ok(Some(len)),
        Err(Errno::AGAIN) => Ok(None),
        Err(Errno::IO) => Ok(Some(0)),
        Err(e) => Err(Error::new("read", "", e.raw_os_error())),
    }
}

/// Writes what can be written; 0 when nothing can yet.
pub fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize> {
    match rustix::io::retry_on_intr(|| rustix::io::write(fd, bytes)) {
        Ok(len) => Ok(len),
        Err(Errno::AGAIN) => Ok(0),
        Err(e) => Err(Error::new("write", format!("{} bytes", bytes.len()), e.raw_os_error())),
    }
}

/// Switches the loopback interface of this network namespace on.
pub fn raise_loopback() -> Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|e| Error::new("socket", "AF_INET", e.raw_os_error()))?;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: 0 },
    };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).unwrap_or(libc::c_short::MAX);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the request is a whole `ifreq` with a NUL-terminated name; it is only read.
    match unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(Error::from_io("ioctl", "SIOCSIFFLAGS, lo", &std::io::Error::last_os_error())),
    }
}
