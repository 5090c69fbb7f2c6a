//! Reading `recipes/components/NAME.toml`, and what in it makes no sense.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::{
    Address, ArchiveKind, BuiltImage, ComponentPackage, ComponentRecipe, Origin, OriginKind, Payload,
};
use crate::base::name::{ComponentName, PackageName};
use crate::base::text::SourceText;
use crate::base::tree::TreePath;
use crate::base::{Result, Url};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawComponent {
    about: Spanned<String>,
    #[serde(rename = "licence")]
    license: String,
    from: Spanned<RawOrigins>,
    package: Option<Spanned<RawPackage>>,
    image: Option<Spanned<BuiltImage>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOrigins {
    apt: Option<RawApt>,
    url: Option<RawUrl>,
    image: Option<RawImage>,
    source: Option<RawApt>,
    provided: Option<RawProvided>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApt {
    package: PackageName,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUrl {
    address: Spanned<String>,
    archive: ArchiveKind,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawImage {
    registry: Spanned<String>,
    repository: Spanned<String>,
    tag: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProvided {
    how: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPackage {
    name: PackageName,
    #[serde(default)]
    depends: Vec<String>,
    files: BTreeMap<TreePath, Spanned<Payload>>,
}

impl ComponentRecipe {
    /// Reads `recipes/components/NAME.toml`.
    pub fn parse(name: ComponentName, text: SourceText<'_>) -> Result<Self> {
        let raw: RawComponent = text.toml()?;
        if raw.about.get_ref().is_empty() || raw.about.get_ref().contains('\n') {
            return Err(text
                .fault(raw.about.span(), "not one line")
                .expected_found("one line of text", "none or many"));
        }
        let from_span = raw.from.span();
        let from = origins(text, raw.from.into_inner())?;
        let offered = Self {
            name,
            about: raw.about.into_inner(),
            license: raw.license,
            package: raw
                .package
                .map(|raw| package(text, from.get(&OriginKind::Download), raw))
                .transpose()?,
            image: raw.image.map(|raw| built(text, raw)).transpose()?,
            from,
        };
        offered.check().map_err(|expected| {
            text.fault(from_span, "what comes from here cannot become that")
                .expected_found(expected, "otherwise")
        })?;
        Ok(offered)
    }

    /// What is written must be of use to one origin, and each origin must have what it needs.
    fn check(&self) -> std::result::Result<(), &'static str> {
        use OriginKind::{Debian, Download, Image, Provided, SourcePackage};
        let has = |kind| self.from.contains_key(&kind);
        let packed = has(Download) || has(SourcePackage) || has(Provided);
        match (&self.package, &self.image) {
            _ if self.from.is_empty() => Err("one of `apt`, `url`, `image`, `source`, `provided`"),
            (Some(_), Some(_)) => Err("either a package or an image"),
            (None, None) if packed => {
                Err("`[package]`: the files it installs, or `[image]`: the programs it runs")
            }
            (Some(_), None) if !packed && has(Debian) => Err("no `[package]`: Debian's is used as it is"),
            (Some(_), None) if !packed => Err("no `[package]`: an image is used as it is"),
            (None, Some(_)) if !packed && !has(Debian) && has(Image) => {
                Err("no `[image]`: an image is used as it is")
            }
            _ => Ok(()),
        }
    }
}

fn built(text: SourceText<'_>, raw: Spanned<BuiltImage>) -> Result<BuiltImage> {
    let image = raw.get_ref();
    match (image.programs.len(), image.entrypoint.is_empty()) {
        (0, _) => Err(text.fault(raw.span(), "an image without programs")),
        (2.., true) => Err(text.fault(raw.span(), "several programs, and no `entrypoint`")),
        _ => Ok(raw.into_inner()),
    }
}

fn origins(text: SourceText<'_>, raw: RawOrigins) -> Result<BTreeMap<OriginKind, Origin>> {
    let mut origins = BTreeMap::new();
    if let Some(RawApt { package }) = raw.apt {
        origins.insert(OriginKind::Debian, Origin::Debian { package });
    }
    if let Some(RawUrl { address, archive }) = raw.url {
        let address = self::address(text, address)?;
        origins.insert(OriginKind::Download, Origin::Download { address, archive });
    }
    if let Some(RawImage { registry, repository, tag }) = raw.image {
        origins.insert(OriginKind::Image, image(text, registry, repository, tag)?);
    }
    if let Some(RawApt { package }) = raw.source {
        origins.insert(OriginKind::SourcePackage, Origin::SourcePackage { package });
    }
    if let Some(RawProvided { how }) = raw.provided {
        origins.insert(OriginKind::Provided, Origin::Provided { how });
    }
    Ok(origins)
}

fn package(
    text: SourceText<'_>,
    published: Option<&Origin>,
    raw: Spanned<RawPackage>,
) -> Result<ComponentPackage> {
    let span = raw.span();
    let raw = raw.into_inner();
    if matches!(published, Some(Origin::Download { archive: ArchiveKind::None, .. })) && raw.files.len() != 1
    {
        let fault = text.fault(span, "a bare download becomes exactly one file");
        return Err(fault.expected_found("one file", raw.files.len()));
    }
    if raw.files.is_empty() {
        return Err(text.fault(span, "a package without files"));
    }
    let mut files = BTreeMap::new();
    for (path, payload) in raw.files {
        let mode = payload.get_ref().mode;
        if mode & !0o755 != 0 || mode & 0o400 == 0 {
            let fault = text.fault(payload.span(), "a mode that no program of ours has");
            return Err(
                fault.expected_found("0755 or fewer bits, readable by its owner", format!("{mode:04o}"))
            );
        }
        files.insert(path, payload.into_inner());
    }
    Ok(ComponentPackage { name: raw.name, depends: raw.depends, files })
}

fn address(text: SourceText<'_>, raw: Spanned<String>) -> Result<Address> {
    let address = raw.get_ref();
    let placeholders: Vec<&str> =
        address.split('{').skip(1).map(|rest| rest.split('}').next().unwrap_or("")).collect();
    if let Some(unknown) = placeholders.iter().find(|name| !["version", "arch"].contains(*name)) {
        let fault = text.fault(raw.span(), format!("unknown placeholder `{{{unknown}}}`"));
        return Err(fault.expected_found("`{version}` or `{arch}`", format!("`{{{unknown}}}`")));
    }
    let filled = address.replace("{version}", "1").replace("{arch}", "amd64");
    if let Err(fault) = filled.parse::<Url>() {
        return Err(text.attach_span(raw.span(), fault));
    }
    Ok(Address(raw.into_inner()))
}

fn image(
    text: SourceText<'_>,
    registry: Spanned<String>,
    repository: Spanned<String>,
    tag: Option<String>,
) -> Result<Origin> {
    let fits = |text: &str, also: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || also.contains(c))
    };
    if !fits(registry.get_ref(), ".-:") {
        return Err(text
            .fault(registry.span(), "not a registry's host")
            .expected_found("host or host:port", registry.get_ref()));
    }
    if !fits(repository.get_ref(), "._-/") || repository.get_ref().split('/').any(str::is_empty) {
        let fault = text.fault(repository.span(), "not a repository");
        return Err(fault.expected_found("parts of a-z 0-9 . _ - joined by `/`", repository.get_ref()));
    }
    let tag = tag.unwrap_or_else(|| "{version}".to_owned());
    Ok(Origin::Image { registry: registry.into_inner(), repository: repository.into_inner(), tag })
}
