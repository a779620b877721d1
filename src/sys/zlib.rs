//! Inflating with a start in the middle: what the safe interfaces of zlib-rs leave out.
//!
//! The C interface of zlib-rs (`libz-rs-sys`) is used for block boundaries, unused bits and
//! windows; see the manual of zlib, `inflate` with `Z_BLOCK`, `inflatePrime`,
//! `inflateGetDictionary` and `inflateSetDictionary`.

use std::fmt;

use libz_rs_sys as z;

/// The most bytes that a deflate stream refers back to.
pub const WINDOW: usize = 32 * 1024;

/// What stands around the deflate stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrap {
    /// Nothing.
    Raw,
    /// The header and trailer of a gzip member (RFC 1952); the trailer is verified.
    Gzip,
}

/// Where a [`Inflate::step`] stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The input or the room for the output was used up.
    Buffers,
    /// Before the first block, or between two blocks: decoding can start here.
    Block {
        /// How many bits of the last input byte belong to the next block: 0 to 7.
        unused_bits: u8,
    },
    /// After the end of the stream and of what is wrapped around it.
    End,
}

/// What a [`Inflate::step`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// How many bytes of the input were used.
    pub consumed: usize,
    /// How many bytes of output were made.
    pub produced: usize,
    /// Why it stopped.
    pub stop: Stop,
}

/// Why inflating failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// The input is no deflate stream, or its checksum is wrong.
    #[error("{0}")]
    Data(String),
    /// There is no memory for the decoder.
    #[error("no memory to inflate")]
    Memory,
    /// The decoder was asked for something out of order.
    #[error("{call} was refused with {code}")]
    Refused {
        /// The function of zlib.
        call: &'static str,
        /// What it returned.
        code: i32,
    },
}

/// A decoder of deflate streams.
pub struct Inflate {
    stream: Box<z::z_stream>,
}

// SAFETY: the stream owns what its pointers lead to (its state, made by zlib-rs with the global
// allocator) and shares it with nobody; buffers are set for the length of one call only.
unsafe impl Send for Inflate {}

impl Inflate {
    /// A decoder at the start of a stream.
    ///
    /// # Errors
    /// [`InflateError::Memory`].
    pub fn new(wrap: Wrap) -> Result<Self, InflateError> {
        let mut inflate = Self { stream: Box::default() };
        let size = i32::try_from(size_of::<z::z_stream>()).unwrap_or(0);
        // SAFETY: the stream is valid and holds allocator functions or none; the version is a
        // string of zlib-rs itself.
        let code = unsafe {
            z::inflateInit2_(&raw mut *inflate.stream, wrap.window_bits(), z::zlibVersion(), size)
        };
        inflate.check("inflateInit2", code)?;
        Ok(inflate)
    }

    /// Goes back to the start of a stream.
    ///
    /// # Errors
    /// [`InflateError::Refused`], which does not happen.
    pub fn reset(&mut self, wrap: Wrap) -> Result<(), InflateError> {
        // SAFETY: the stream was initialised in `new`.
        let code = unsafe { z::inflateReset2(&raw mut *self.stream, wrap.window_bits()) };
        self.check("inflateReset2", code)
    }

    /// Puts the `bits` (0 to 7) highest bits of `byte` in front of the input.
    ///
    /// # Errors
    /// [`InflateError::Refused`] for more than 7 bits.
    pub fn prime(&mut self, bits: u8, byte: u8) -> Result<(), InflateError> {
        if bits > 7 {
            return Err(InflateError::Refused { call: "inflatePrime", code: z::Z_STREAM_ERROR });
        }
        let value = (u16::from(byte) >> (8 - bits)).into();
        // SAFETY: the stream was initialised in `new`.
        let code = unsafe { z::inflatePrime(&raw mut *self.stream, bits.into(), value) };
        self.check("inflatePrime", code)
    }

    /// Says what came before the point where a raw stream is entered.
    ///
    /// # Errors
    /// [`InflateError::Refused`] for a stream that is not raw, or a window that is too long.
    pub fn set_window(&mut self, window: &[u8]) -> Result<(), InflateError> {
        let refused = InflateError::Refused { call: "window", code: z::Z_STREAM_ERROR };
        let len = u32::try_from(window.len()).map_err(|_| refused)?;
        // SAFETY: the stream was initialised in `new`; pointer and length are those of a slice.
        let code = unsafe { z::inflateSetDictionary(&raw mut *self.stream, window.as_ptr(), len) };
        self.check("inflateSetDictionary", code)
    }

    /// The last bytes that came out, up to [`WINDOW`]: what the next block may refer to.
    ///
    /// # Errors
    /// [`InflateError::Refused`], which does not happen.
    pub fn window(&self) -> Result<Vec<u8>, InflateError> {
        let mut window = vec![0; WINDOW];
        let mut len = 0;
        // SAFETY: the stream was initialised in `new`; `window` has room for the 32,768 bytes
        // that are the most this function writes.
        let code = unsafe {
            z::inflateGetDictionary(&raw const *self.stream, window.as_mut_ptr(), &raw mut len)
        };
        self.check("inflateGetDictionary", code)?;
        window.truncate(usize::try_from(len).unwrap_or(WINDOW));
        Ok(window)
    }

    /// Inflates from `input` into `output` up to the next block boundary, the end of the stream,
    /// or the end of a buffer.
    ///
    /// # Errors
    /// [`InflateError::Data`] when the input is damaged.
    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, InflateError> {
        let avail_in = u32::try_from(input.len()).unwrap_or(u32::MAX);
        let avail_out = u32::try_from(output.len()).unwrap_or(u32::MAX);
        self.stream.next_in = input.as_ptr().cast_mut();
        self.stream.avail_in = avail_in;
        self.stream.next_out = output.as_mut_ptr();
        self.stream.avail_out = avail_out;
        // SAFETY: the stream was initialised in `new`; next_in/avail_in and next_out/avail_out lie
        // within the two slices, which live through the call.
        let code = unsafe { z::inflate(&raw mut *self.stream, z::Z_BLOCK) };
        let consumed = avail_in.saturating_sub(self.stream.avail_in);
        let produced = avail_out.saturating_sub(self.stream.avail_out);
        let stop = match code {
            z::Z_STREAM_END => Stop::End,
            z::Z_OK | z::Z_BUF_ERROR => self.boundary(),
            _ => {
                self.check("inflate", code)?;
                Stop::Buffers
            }
        };
        let wide = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        Ok(Step { consumed: wide(consumed), produced: wide(produced), stop })
    }

    /// Reads `data_type` as the manual of zlib says: bit 7 after a header or a block, bit 6 in
    /// the last block, the lowest bits the number of unused bits.
    fn boundary(&self) -> Stop {
        let state = self.stream.data_type;
        match u8::try_from(state & 63) {
            Ok(unused_bits @ 0..=7) if state & 128 != 0 && state & 64 == 0 => {
                Stop::Block { unused_bits }
            }
            _ => Stop::Buffers,
        }
    }

    fn check(&self, call: &'static str, code: i32) -> Result<(), InflateError> {
        match code {
            z::Z_OK => Ok(()),
            z::Z_MEM_ERROR => Err(InflateError::Memory),
            z::Z_DATA_ERROR => Err(InflateError::Data(self.message())),
            z::Z_NEED_DICT => Err(InflateError::Data("a preset dictionary is needed".to_owned())),
            code => Err(InflateError::Refused { call, code }),
        }
    }

    fn message(&self) -> String {
        if self.stream.msg.is_null() {
            return "not a deflate stream".to_owned();
        }
        // SAFETY: a message that is set is a string constant of zlib-rs.
        let message = unsafe { std::ffi::CStr::from_ptr(self.stream.msg) };
        message.to_string_lossy().into_owned()
    }
}

impl Wrap {
    fn window_bits(self) -> i32 {
        match self {
            Self::Raw => -15,
            Self::Gzip => 31,
        }
    }
}

impl Drop for Inflate {
    fn drop(&mut self) {
        // SAFETY: the stream was initialised in `new`, or holds no state, which the call checks.
        let code = unsafe { z::inflateEnd(&raw mut *self.stream) };
        if code != z::Z_OK {
            log::debug!("inflateEnd returned {code}");
        }
    }
}

impl fmt::Debug for Inflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflate").field("total_out", &self.stream.total_out).finish_non_exhaustive()
    }
}
