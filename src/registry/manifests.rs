//! Manifests, indexes and configs: fetched, verified, and only then parsed.

use ureq::http::{HeaderName, HeaderValue, header};

use super::client::{Answer, Ask};
use super::{Client, Error, Result};
use crate::oci::{
    Config, Descriptor, Digest, Document, DocumentError, Index, Manifest, MediaType, Platform,
    Reference, Repository,
};

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";
const CONTENT_DIGEST: &str = "docker-content-digest";
/// An index may point to an index; deeper than this nobody goes.
const INDEXES_MAX: usize = 4;
const DOCUMENT_MAX: u64 = Document::MAX_SIZE as u64;

/// Something with its bytes, as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched<T> {
    /// The bytes. They have the digest.
    pub raw: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// What they say.
    pub parsed: T,
}

/// What is needed to have an image, but for its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The indexes that led to the manifest, the outermost first; none when the reference names
    /// the manifest itself.
    pub indexes: Vec<Fetched<Index>>,
    /// The manifest for the platform.
    pub manifest: Fetched<Manifest>,
    /// The config. It has a diff id for each layer of the manifest.
    pub config: Fetched<Config>,
}

impl Image {
    /// The digest that the reference stands for: of the outermost index, or of the manifest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.indexes.first().map_or(self.manifest.digest, |index| index.digest)
    }
}

/// Which document is wanted, and what is known of it.
enum Wanted<'a> {
    Named(&'a Reference),
    Described(&'a Descriptor),
}

impl Client {
    /// Finds the image that `reference` names for `platform`: at least two requests, three with
    /// an index.
    ///
    /// # Errors
    /// Any of [`Error`], but [`Error::Size`] and [`Error::Mismatch`] only of these documents: no
    /// layer is fetched.
    pub fn image(&self, reference: &Reference, platform: &Platform) -> Result<Image> {
        let repository = reference.repository();
        let mut indexes: Vec<Fetched<Index>> = Vec::new();
        let mut document = self.document(reference)?;
        let manifest = loop {
            let index = match document.parsed {
                Document::Manifest(parsed) => {
                    break Fetched { raw: document.raw, digest: document.digest, parsed };
                }
                Document::Index(index) => index,
            };
            if indexes.len() >= INDEXES_MAX {
                let why = "its indexes are nested too deeply".to_owned();
                return Err(Error::Protocol { url: reference.to_string(), why });
            }
            let chosen = index
                .choose(platform)
                .ok_or_else(|| no_platform(reference, platform, &index))?
                .clone();
            indexes.push(Fetched { raw: document.raw, digest: document.digest, parsed: index });
            document = self.fetch(repository, &Wanted::Described(&chosen))?;
        };
        if !manifest.parsed.is_image() {
            let kind = manifest.parsed.config.media_type.to_string();
            return Err(Error::NotAnImage { what: reference.to_string(), kind });
        }
        let config = self.config(repository, &manifest.parsed)?;
        if platform.rank(&config.parsed.platform).is_none() {
            log::warn!("{reference} is for {}, not for {platform}", config.parsed.platform);
        }
        Ok(Image { indexes, manifest, config })
    }

    /// Fetches what `reference` names, whatever it is.
    ///
    /// # Errors
    /// Any of [`Error`].
    pub fn document(&self, reference: &Reference) -> Result<Fetched<Document>> {
        self.fetch(reference.repository(), &Wanted::Named(reference))
    }

    fn fetch(&self, repository: &Repository, wanted: &Wanted<'_>) -> Result<Fetched<Document>> {
        let what = wanted.what(repository);
        let path = format!("manifests/{}", wanted.name());
        let headers: [(HeaderName, HeaderValue); 1] =
            [(header::ACCEPT, HeaderValue::from_static(ACCEPT))];
        let ask = Ask { repository, path: &path, headers: &headers, what: &what };
        self.retrying(|| {
            let mut answer = self.ask(ask)?;
            let raw = answer.read(DOCUMENT_MAX)?;
            let digest = wanted.verify(&raw, &answer, &what)?;
            let sent_as = match wanted {
                Wanted::Described(descriptor) => Some(descriptor.media_type.clone()),
                Wanted::Named(_) => content_type(&answer),
            };
            let parsed = Document::parse(&raw, sent_as.as_ref())
                .map_err(|source| Error::Document { what: what.clone(), source })?;
            Ok(Fetched { raw, digest, parsed })
        })
    }

    fn config(&self, repository: &Repository, manifest: &Manifest) -> Result<Fetched<Config>> {
        let descriptor = &manifest.config;
        let what = format!("{repository}@{}", descriptor.digest);
        let unusable = |source| Error::Document { what: what.clone(), source };
        if descriptor.size > DOCUMENT_MAX {
            let size = usize::try_from(descriptor.size).unwrap_or(usize::MAX);
            return Err(unusable(DocumentError::TooLarge(size)));
        }
        let raw = self.blob(repository, descriptor).read_all()?;
        let digest = Digest::of(&raw);
        check(&what, descriptor.digest, digest)?;
        let parsed = Config::parse(&raw).map_err(unusable)?;
        parsed.check_against(manifest).map_err(unusable)?;
        Ok(Fetched { raw, digest, parsed })
    }
}

impl Wanted<'_> {
    /// What stands after `manifests/`.
    fn name(&self) -> String {
        match self {
            Self::Described(descriptor) => descriptor.digest.to_string(),
            Self::Named(reference) => match (reference.digest(), reference.tag()) {
                (Some(digest), _) => digest.to_string(),
                (None, tag) => tag.unwrap_or_default().to_owned(),
            },
        }
    }

    fn what(&self, repository: &Repository) -> String {
        match self {
            Self::Described(descriptor) => format!("{repository}@{}", descriptor.digest),
            Self::Named(reference) => reference.to_string(),
        }
    }

    /// Checks the bytes against everything that is known of them and returns their digest. A tag
    /// alone says nothing of its bytes: then only what the registry itself claims is checked.
    fn verify(&self, raw: &[u8], answer: &Answer, what: &str) -> Result<Digest> {
        let found = Digest::of(raw);
        let claimed = answer.response.headers().get(CONTENT_DIGEST);
        let claimed = claimed.and_then(|value| value.to_str().ok()?.parse().ok());
        match self {
            Self::Described(descriptor) => {
                if descriptor.size != raw.len() as u64 {
                    let (expected, found) = (descriptor.size, raw.len().to_string());
                    return Err(Error::Size { what: what.to_owned(), expected, found });
                }
                check(what, descriptor.digest, found)?;
            }
            Self::Named(reference) => {
                if let Some(expected) = reference.digest() {
                    check(what, *expected, found)?;
                }
            }
        }
        check(what, claimed.unwrap_or(found), found)?;
        Ok(found)
    }
}

fn check(what: &str, expected: Digest, found: Digest) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Mismatch { what: what.to_owned(), expected, found })
}

fn content_type(answer: &Answer) -> Option<MediaType> {
    let value = answer.response.headers().get(header::CONTENT_TYPE)?;
    Some(MediaType::new(value.to_str().ok()?))
}

fn no_platform(reference: &Reference, wanted: &Platform, index: &Index) -> Error {
    Error::NoPlatform {
        what: reference.to_string(),
        wanted: Box::new(wanted.clone()),
        available: index.platforms().into_iter().cloned().collect(),
    }
}
