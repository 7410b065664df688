//! `inspect`: what a component says of itself, and what it would get. Nothing of it runs, and nothing is compiled.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use portcullis_catalogue::{Examined, PluginSpec, Review, State};
use portcullis_policy::{Limits, PluginName, snake_case};
use portcullis_trust::ToolNames;

use crate::{
    config::Config,
    host::Host,
    render::{self, Fault},
    review,
};

pub(crate) async fn run(config: &Path, what: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let (review, name) = match find(config, what)? {
        Found::Plugin(config, name) => (of_plugin(*config, &name).await?, Some(name)),
        Found::File(host, file) => (of_file(&host, file).await?, None),
    };
    if as_json {
        render::json(&review::as_data(&review, name.as_ref()))?;
    } else {
        render::data(&review::as_text(&review, name.as_ref()))?;
    }
    Ok(ExitCode::SUCCESS)
}

enum Found {
    Plugin(Box<Config>, PluginName),
    File(Host, PathBuf),
}

/// A plugin of the configuration, or a file.
fn find(path: &Path, what: &str) -> anyhow::Result<Found> {
    let file = PathBuf::from(what);
    let config = if path.exists() { Some(Config::read(path)?) } else { None };
    if let Some(config) = config {
        if let Some(plugin) = config.plugins.iter().find(|plugin| plugin.name.as_str() == what) {
            let name = plugin.name.clone();
            return Ok(Found::Plugin(Box::new(config), name));
        }
        return Ok(Found::File(Host::for_review(&config, "inspect")?, file));
    }
    if !file.exists() {
        let hint = "name a component's file, or a plugin of the configuration with `--config FILE`".to_owned();
        return Err(Fault::error(format!("There is no plugin and no file `{what}`"), Some(hint)));
    }
    Ok(Found::File(Host::for_what_is_built(Path::new(".portcullis/dev"), None, "inspect", false)?, file))
}

async fn of_plugin(mut config: Config, name: &PluginName) -> anyhow::Result<Review> {
    let host = Host::for_review(&config, "inspect")?;
    // One that is switched off can be looked at all the same.
    config.plugins.iter_mut().filter(|plugin| plugin.name == *name).for_each(|plugin| plugin.enabled = true);
    // What is wrong with others is for `list`.
    _ = host.catalogue.apply(config.plugins).await;
    let review = host.catalogue.review(name).await;
    host.close();
    review.map_err(|error| {
        // `inspect` is where the hints lead to.
        let hint = error.hint().filter(|hint| !hint.starts_with("portcullis inspect"));
        Fault::error(error.to_string(), hint)
    })
}

async fn of_file(host: &Host, source: PathBuf) -> anyhow::Result<Review> {
    let stem = source.file_stem().and_then(|stem| stem.to_str()).unwrap_or("plugin");
    let plain: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(40).collect();
    let spec = PluginSpec {
        name: PluginName::new(plain.clone()).or_else(|_| PluginName::new("plugin"))?,
        written_source: source.to_string_lossy().into_owned(),
        source,
        // What a plugin of the file's name would have.
        prefix: format!("{}_", snake_case(&plain)),
        tools: None,
        enabled: true,
        limits: Limits::default(),
        grants: Arc::default(),
        secrets: Arc::default(),
        settings: Default::default(),
    };
    let examined = Examined::read(host.catalogue.runtime(), &spec).await;
    host.close();
    let examined = examined.map_err(|unfit| {
        let reason = unfit.state.reason().unwrap_or("nothing is known of it");
        let what = format!("`{}` cannot be inspected", spec.source.display());
        Fault::of_lines([what, format!("cause: {reason}")], None)
    })?;
    Ok(Review {
        findings: examined.findings(&ToolNames::default()),
        examined: Arc::new(examined),
        approved: None,
        difference: None,
        state: State::Quarantined { reason: None },
    })
}
