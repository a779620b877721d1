//! Platforms: what an image is built for, and which of several images fits best.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operating system and a processor architecture, by Go's names (image-spec, image-index.md,
/// "platform").
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, ...
    pub architecture: String,
    /// `v7` of `arm`, for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The version of the operating system; only Windows images have one.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
}

/// Why a text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a platform: write OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT")]
pub struct PlatformError(String);

impl Platform {
    /// The platform of this machine, as far as this program was built for it.
    #[must_use]
    pub fn host() -> Self {
        Self::new(std::env::consts::OS, std::env::consts::ARCH, None)
    }

    /// How well an image for `offered` runs on this platform: 0 is best; `None`, not at all.
    ///
    /// The order is containerd's: exactly this, then older variants from new to old; an arm64
    /// machine runs arm images too, an amd64 machine 386 images.
    #[must_use]
    pub fn rank(&self, offered: &Self) -> Option<usize> {
        if self.os != Self::normal_os(&offered.os) {
            return None;
        }
        let (architecture, variant) = normal(&offered.architecture, offered.variant.as_deref());
        self.runnable().iter().position(|(a, v)| *a == architecture && *v == variant)
    }

    /// What this platform runs, best first, in normal form.
    fn runnable(&self) -> Vec<(String, Option<String>)> {
        let (architecture, variant) = normal(&self.architecture, self.variant.as_deref());
        let level = variant.as_deref().and_then(variant_level);
        let of = |architecture: &str, levels: &mut dyn Iterator<Item = u8>| -> Vec<_> {
            levels.map(|n| normal(architecture, Some(&format!("v{n}")))).collect()
        };
        let mut list = vec![(architecture.clone(), variant)];
        match architecture.as_str() {
            "amd64" => {
                list.extend(of("amd64", &mut (1..level.unwrap_or(1)).rev()));
                list.push(("386".to_owned(), None));
            }
            "arm64" => {
                list.extend(of("arm64", &mut (8..level.unwrap_or(8)).rev()));
                list.extend(of("arm", &mut (5..=8).rev()));
            }
            "arm" => list.extend(of("arm", &mut (5..level.unwrap_or(5)).rev())),
            _ => {}
        }
        list
    }

    fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (architecture, variant) = normal(architecture, variant);
        Self { os: Self::normal_os(os).to_owned(), architecture, variant, os_version: None }
    }

    fn normal_os(os: &str) -> &str {
        if os == "macos" { "darwin" } else { os }
    }
}

/// One spelling for each architecture and variant: a variant that is the default is left out.
fn normal(architecture: &str, variant: Option<&str>) -> (String, Option<String>) {
    let architecture = architecture.to_ascii_lowercase();
    let variant = variant.map(str::to_ascii_lowercase).filter(|v| !v.is_empty());
    let variant = match variant {
        Some(v) if v.bytes().all(|b| b.is_ascii_digit()) => Some(format!("v{v}")),
        other => other,
    };
    let (architecture, variant) = match (architecture.as_str(), variant.as_deref()) {
        ("x86_64" | "x86-64" | "amd64", v) => ("amd64", v.filter(|v| *v != "v1")),
        ("x86" | "i386" | "i686" | "386", _) => ("386", None),
        ("aarch64" | "arm64", v) => ("arm64", v.filter(|v| *v != "v8")),
        ("armhf", _) | ("arm", None) => ("arm", Some("v7")),
        ("armel", _) => ("arm", Some("v6")),
        ("powerpc64" | "ppc64le", v) => ("ppc64le", v),
        ("loongarch64" | "loong64", v) => ("loong64", v),
        (other, v) => (other, v),
    };
    (architecture.to_owned(), variant.map(str::to_owned))
}

fn variant_level(variant: &str) -> Option<u8> {
    variant.strip_prefix('v')?.parse().ok().filter(|level| *level <= 16)
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// Reads `OS/ARCHITECTURE[/VARIANT]`.
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let word = |part: &&str| {
            !part.is_empty()
                && part.len() <= 64
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        };
        if !parts.iter().all(word) {
            return Err(PlatformError(text.to_owned()));
        }
        match *parts.as_slice() {
            [os, architecture] => Ok(Self::new(&os.to_ascii_lowercase(), architecture, None)),
            [os, architecture, variant] => {
                Ok(Self::new(&os.to_ascii_lowercase(), architecture, Some(variant)))
            }
            _ => Err(PlatformError(text.to_owned())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Platform;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn every_spelling_of_a_platform_is_the_same_platform() {
        for (spelling, normal) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i686", "linux/386"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            assert_eq!(platform(spelling).to_string(), normal);
        }
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for text in ["", "linux", "linux/", "/amd64", "linux/amd64/v1/x", "linux/am d64", "a/b\n"] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn older_variants_rank_after_newer_ones_and_newer_than_the_machine_do_not_run() {
        let order = |wanted: &str, offered: &[&str]| -> Vec<Option<usize>> {
            offered.iter().map(|o| platform(wanted).rank(&platform(o))).collect()
        };
        let some = |ranks: &[usize]| ranks.iter().copied().map(Some).collect::<Vec<_>>();
        let arm = ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"];
        assert_eq!(order("linux/arm/v7", &arm), some(&[0, 1, 2]));
        assert_eq!(order("linux/arm/v6", &["linux/arm/v7"]), [None]);
        let amd = ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"];
        assert_eq!(order("linux/amd64/v3", &amd), some(&[0, 1, 2, 3]));
        assert_eq!(order("linux/amd64", &amd), [None, None, Some(0), Some(1)]);
        assert_eq!(order("linux/arm64", &["linux/arm64/v8", "linux/arm/v7"]), [Some(0), Some(2)]);
        assert_eq!(order("linux/amd64", &["windows/amd64", "linux/s390x"]), [None, None]);
    }

    #[test]
    fn this_machine_runs_its_own_images() {
        let host = Platform::host();
        assert_eq!(host.rank(&host), Some(0));
        assert_eq!(host.os, "linux");
    }
}
