//! Indexes a layer and reads from it, with times and sizes.
//!
//!     cargo run --release --example index_layer -- LAYER DIRECTORY
//!
//! LAYER is an archive as a registry stores it; DIRECTORY is created and takes the index.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mica::blob::FileBlob;
use mica::layer::{DATA, INDEX, Layer, Limits, SEEK, SpanCache, Summary, build};
use mica::oci::{Digest, Hasher};
use mica::tree::{Kind, Lower as _, NodeId, Slot};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(layer), Some(dir)) = (args.next(), args.next()) else {
        return Err("usage: index_layer LAYER DIRECTORY".into());
    };
    let (layer, dir) = (Path::new(&layer), Path::new(&dir));
    std::fs::create_dir(dir)?;
    let digest = digest(layer)?;
    let start = Instant::now();
    let summary = build(&mut File::open(layer)?, dir, &Limits::default())?;
    let time = start.elapsed();
    let rate = |bytes: u64| bytes as f64 / time.as_secs_f64() / 1e6;
    println!("{summary:?}");
    println!(
        "built in {time:.3?}: {:.0} MB/s stored, {:.0} MB/s unpacked",
        rate(summary.stored_len),
        rate(summary.unpacked_len)
    );
    for name in [INDEX, SEEK, DATA] {
        if let Ok(file) = dir.join(name).metadata() {
            let part = file.len() as f64 / summary.stored_len as f64 * 100.0;
            println!("{name}: {} bytes, {part:.2} % of the stored bytes", file.len());
        }
    }
    read(digest, &summary, layer, dir)
}

/// Files and their sizes.
type Files = Vec<(NodeId, u64)>;

fn digest(layer: &Path) -> Result<Digest, Box<dyn Error>> {
    let mut hasher = Hasher::new();
    std::io::copy(&mut File::open(layer)?, &mut hasher)?;
    Ok(hasher.finish())
}

fn read(digest: Digest, summary: &Summary, path: &Path, dir: &Path) -> Result<(), Box<dyn Error>> {
    let cache = Arc::new(SpanCache::new(SpanCache::DEFAULT));
    let blob = Arc::new(FileBlob::open(path)?);
    let start = Instant::now();
    let layer = Layer::open(digest, summary.diff_id, blob, dir, &cache)?;
    println!("opened in {:.1?}", start.elapsed());
    let start = Instant::now();
    let (files, count) = files(&layer)?;
    println!("walked {count} files in {:.1?}", start.elapsed());

    let start = Instant::now();
    let (mut buf, mut total) = (vec![0; 128 << 10], 0);
    for &(node, size) in &files {
        let mut at = 0;
        while at < size {
            at += layer.read_at(node, at, &mut buf)? as u64;
        }
        total += size;
    }
    let rate = total as f64 / start.elapsed().as_secs_f64() / 1e6;
    println!("read all {total} bytes forward at {rate:.0} MB/s");

    // A small cache, so that most reads decode: the latency of a first touch.
    let cache = Arc::new(SpanCache::new(4 << 20));
    let blob = Arc::new(FileBlob::open(path)?);
    let layer = Layer::open(digest, summary.diff_id, blob, dir, &cache)?;
    let (mut small, mut times) = ([0; 4096], Vec::<Duration>::new());
    let mut state = 1_u64;
    for _ in 0..1000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = usize::try_from(state >> 33)? % files.len().max(1);
        let Some(&(node, size)) = files.get(at) else { break };
        let start = Instant::now();
        layer.read_at(node, (state >> 20) % size, &mut small)?;
        times.push(start.elapsed());
    }
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    println!("random 4 KiB reads: median {:.0?}, 95 % below {:.0?}", at(50), at(95));
    Ok(())
}

/// The regular files that are not empty, in the order of the archive, and how many files of any
/// kind there are.
fn files(layer: &Layer) -> Result<(Files, usize), Box<dyn Error>> {
    let (mut files, mut open, mut count) = (Vec::new(), vec![layer.root()?.id], 0);
    while let Some(dir) = open.pop() {
        for listed in layer.list(dir)? {
            let Slot::Node(node) = listed.slot else { continue };
            count += 1;
            match node.attr.kind {
                Kind::Directory => open.push(node.id),
                Kind::File if node.attr.size > 0 => files.push((node.id, node.attr.size)),
                _ => {}
            }
        }
    }
    files.sort();
    files.dedup();
    Ok((files, count))
}
