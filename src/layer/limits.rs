//! What a layer may ask of the one who indexes it.

/// The most that is accepted of a layer.
///
/// Independent of these: a name has at most 255 bytes, a path at most 4,095, a link target at
/// most 4,095, an extended attribute a name of 255 bytes and a value of 64 KiB at most, and a
/// file at most 2^63 - 1 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Entries of the archive, and files and directories that they make. About 300 bytes of
    /// memory each while the index is built.
    pub entries: u64,
    /// Bytes of the extension headers (long names, PAX records, sparse maps) of one entry.
    pub metadata: u64,
    /// Bytes of the archive when it is uncompressed.
    pub unpacked: u64,
    /// Bytes of the archive for each stored byte, counted from [`Limits::free`] bytes on.
    pub ratio: u64,
    /// Bytes of the archive up to which the ratio is of no interest.
    pub free: u64,
}

impl Default for Limits {
    /// 4 Mi entries, 1 MiB of metadata, 1 TiB; more than 16 GiB only if not compressed by more
    /// than 1,100, which gzip cannot reach.
    fn default() -> Self {
        Self { entries: 4 << 20, metadata: 1 << 20, unpacked: 1 << 40, ratio: 1100, free: 16 << 30 }
    }
}
