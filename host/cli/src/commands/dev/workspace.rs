//! What `dev` builds, and what becomes of it with a configuration: the plugins to serve, and what is left out.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use portcullis_authoring::{BuildError, PluginSource, find_plugins};
use portcullis_catalogue::PluginSpec;
use portcullis_policy::{Limits, snake_case};

use crate::{
    commands::{
        build::{build_fault, on_a_thread, reason},
        dev::settings::Settings,
    },
    render::{self, fault},
};

/// What is not served, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    what: String,
    reason: String,
    mend: Option<String>,
}

impl LeftOut {
    pub(crate) fn new(what: impl Into<String>, reason: impl Into<String>, mend: Option<String>) -> Self {
        Self { what: what.into(), reason: reason.into(), mend }
    }

    /// Says so.
    pub(crate) fn tell(&self) {
        render::note(&format!("left out: {}: {}", self.what, self.reason));
        if let Some(mend) = &self.mend {
            render::note(&format!("    hint: {mend}"));
        }
    }
}

/// The sources, and what was built of them.
pub(crate) struct Workspace {
    pub(super) sources: Vec<PluginSource>,
    built: Vec<Option<PathBuf>>,
    /// What is no plugin.
    none: Vec<LeftOut>,
    /// By source: what cannot be built here.
    unbuilt: Vec<Option<LeftOut>>,
    pub(super) settings: Option<Settings>,
}

impl Workspace {
    /// Finds what is in `dirs`.
    pub(super) fn find(dirs: &[PathBuf], settings: Option<Settings>) -> anyhow::Result<Self> {
        let found = find_plugins(dirs).map_err(|error| fault(&error, error.hint()))?;
        let none = found.left_out.iter().map(|left_out| {
            LeftOut::new(left_out.dir.display().to_string(), left_out.reason.to_string(), left_out.reason.hint())
        });
        let (built, unbuilt) = (vec![None; found.plugins.len()], vec![None; found.plugins.len()]);
        Ok(Self { none: none.collect(), sources: found.plugins, built, unbuilt, settings })
    }

    /// Builds all of the sources. One whose toolchain is missing is left out; one that does not build ends the command:
    /// nothing of it was ever served.
    pub(super) async fn build(&mut self, quiet: bool) -> anyhow::Result<()> {
        let mut missing = None;
        for index in 0..self.sources.len() {
            match self.rebuild(index, quiet).await? {
                Ok(()) => {}
                Err(error) if error.is_missing_tool() => missing = missing.or(Some(error)),
                Err(error) => return Err(build_fault(&error)),
            }
        }
        match missing {
            Some(error) if self.built.iter().all(Option::is_none) => Err(build_fault(&error)),
            Some(_) | None => Ok(()),
        }
    }

    /// Builds one of the sources again. What was built before stays where this fails.
    pub(super) async fn rebuild(&mut self, index: usize, quiet: bool) -> anyhow::Result<Result<(), BuildError>> {
        let Some(source) = self.sources.get(index) else {
            return Ok(Ok(()));
        };
        let built = on_a_thread(&source.dir, source.name.as_str(), Some(source.language), quiet).await?;
        let left_out = match &built {
            Ok(built) => {
                for warning in &built.warnings {
                    render::note(&format!("warning: {}: {warning}", source.name));
                }
                None
            }
            Err(error) => Some(LeftOut::new(source.name.as_str(), reason(error), error.hint())),
        };
        if let (Ok(built), Some(slot)) = (&built, self.built.get_mut(index)) {
            *slot = Some(built.component.clone());
        }
        if let Some(slot) = self.unbuilt.get_mut(index) {
            *slot = left_out;
        }
        Ok(built.map(drop))
    }

    /// The plugins that were built: as the configuration has them, where one of its plugins has just this file for its
    /// source, else by their own name, without a grant.
    pub(super) fn specs(&self) -> Vec<PluginSpec> {
        let configured = self.configured();
        let taken: BTreeSet<_> = configured.iter().map(|(spec, _)| spec.name.clone()).collect();
        let used: BTreeSet<_> = configured.iter().map(|(_, index)| *index).collect();
        let plain =
            self.components().filter(|(index, source, _)| !used.contains(index) && !taken.contains(&source.name));
        let plain = plain.map(|(_, source, component)| PluginSpec {
            name: source.name.clone(),
            source: component.clone(),
            written_source: component.to_string_lossy().into_owned(),
            prefix: format!("{}_", snake_case(source.name.as_str())),
            tools: None,
            enabled: true,
            limits: Limits::default(),
            grants: Arc::default(),
            secrets: Arc::default(),
            settings: Default::default(),
        });
        let plain: Vec<_> = plain.collect();
        configured.into_iter().map(|(spec, _)| spec).chain(plain).collect()
    }

    fn components(&self) -> impl Iterator<Item = (usize, &PluginSource, &PathBuf)> {
        let built = self.sources.iter().zip(&self.built).enumerate();
        built.filter_map(|(index, (source, component))| Some((index, source, component.as_ref()?)))
    }

    /// Plugins of the configuration that were built here, each with the place of its source.
    fn configured(&self) -> Vec<(PluginSpec, usize)> {
        let mut found = Vec::new();
        for spec in self.settings.iter().flat_map(|settings| &settings.config.plugins) {
            let file = real(&spec.source);
            if let Some((index, _, component)) = self.components().find(|(_, _, component)| **component == file) {
                found.push((PluginSpec { source: component.clone(), ..spec.clone() }, index));
            }
        }
        found
    }

    /// All that is not served, so far as building and the configuration are the reason.
    pub(super) fn left_out(&self) -> Vec<LeftOut> {
        let mut left_out = self.none.clone();
        left_out.extend(self.unbuilt.iter().flatten().cloned());
        let Some(settings) = &self.settings else { return left_out };
        let shown = settings.path.display();
        let configured = self.configured();
        for spec in settings.config.plugins.iter().filter(|spec| spec.enabled) {
            let file = real(&spec.source);
            let is_built = configured.iter().any(|(built, _)| built.name == spec.name);
            let is_told = self.sources.iter().any(|source| file.starts_with(&source.dir));
            if !is_built && !is_told {
                let reason = format!("`{}` is not built from these folders", spec.written_source);
                left_out.push(LeftOut::new(format!("{} of `{shown}`", spec.name), reason, None));
            }
        }
        for (index, source, _) in self.components() {
            if configured.iter().any(|(spec, of)| spec.name == source.name && *of != index)
                && !configured.iter().any(|(_, of)| *of == index)
            {
                let reason = format!("`{shown}` gives its name to another plugin");
                let mend = format!("[plugins.OTHER] with source = \"{}\"", source.dir.join("dist").display());
                left_out.push(LeftOut::new(source.name.as_str(), reason, Some(mend)));
            }
        }
        left_out
    }
}

/// The path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for above in path.ancestors() {
        if let Ok(real) = fs::canonicalize(above) {
            let rest = path.strip_prefix(above).unwrap_or(Path::new(""));
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    path
}
