//! `inspect`: what a component says of itself. Nothing of it runs, and nothing is compiled.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use portcullis_catalogue::Inspection;
use portcullis_policy::snake_case;
use serde_json::json;

use crate::{
    config::Config,
    host::Host,
    render::{self, Fault},
};

pub(crate) async fn run(config: &Path, what: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let (host, source, prefix, tools) = find(config, what)?;
    let inspection = portcullis_catalogue::inspect(host.catalogue.runtime(), &source, &prefix, tools.as_deref())
        .await
        .map_err(|(state, _)| {
            let reason = state.reason().unwrap_or("nothing is known of it");
            Fault::error(format!("`{}` cannot be inspected\n  cause: {reason}", source.display()), None)
        })?;
    host.close();
    if as_json {
        render::json(&as_data(&source, &inspection))?
    } else {
        render::data(&as_text(&source, &inspection))?
    }
    Ok(ExitCode::SUCCESS)
}

/// A plugin of the configuration, or a file.
fn find(path: &Path, what: &str) -> anyhow::Result<(Host, PathBuf, String, Option<Vec<String>>)> {
    let file = PathBuf::from(what);
    let config = if path.exists() { Some(Config::read(path)?) } else { None };
    if let Some(config) = config {
        let host = Host::open(&config.state_dir, config.max_concurrent_calls, "inspect")?;
        if let Some(plugin) = config.plugins.into_iter().find(|plugin| plugin.name.as_str() == what) {
            return Ok((host, plugin.source, plugin.prefix, plugin.tools));
        }
        return Ok((host, file, prefix_of(what), None));
    }
    if !file.exists() {
        let hint = "name a component's file, or a plugin of the configuration with `--config FILE`".to_owned();
        return Err(Fault::error(format!("There is no plugin and no file `{what}`"), Some(hint)));
    }
    let host = Host::open(Path::new(".portcullis/dev"), 1, "inspect")?;
    Ok((host, file, prefix_of(what), None))
}

/// The prefix that a plugin of the file's name would have.
fn prefix_of(file: &str) -> String {
    let stem = Path::new(file).file_stem().and_then(|stem| stem.to_str()).unwrap_or("plugin");
    let plain: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(40).collect();
    format!("{}_", snake_case(&plain))
}

fn as_data(source: &Path, inspection: &Inspection) -> serde_json::Value {
    let Inspection { component, description, definitions } = inspection;
    let definition = |tool: &portcullis_runtime::wit::ToolEntry| json!(tool.definition);
    let left_out = |f: &portcullis_runtime::wit::LeftOut| json!({ "function": f.function, "reason": f.reason });
    json!({
        "source": source,
        "digest": component.digest(),
        "size": component.size(),
        "mapping": description.mapping,
        "tools": definitions.tools.iter().map(definition).collect::<Vec<_>>(),
        "leftOut": definitions.left_out.iter().map(left_out).collect::<Vec<_>>(),
        "imports": description.imports,
        "requests": description.requests,
        "warnings": description.warnings,
    })
}

fn as_text(source: &Path, inspection: &Inspection) -> String {
    let Inspection { component, description, definitions } = inspection;
    let mut text = String::new();
    let escape = render::escape;
    // Writing to a string cannot fail.
    _ = writeln!(
        text,
        "{}\nsha256 {}, {} bytes",
        escape(&source.to_string_lossy()),
        component.digest(),
        component.size()
    );
    _ = writeln!(text, "\nTools");
    for tool in &definitions.tools {
        let definition = &tool.definition;
        _ = writeln!(text, "  {}", definition.name);
        for line in definition.description.iter().flat_map(|description| description.lines()) {
            _ = writeln!(text, "      {}", escape(line));
        }
        let schema = |schema| serde_json::to_string(schema).unwrap_or_default();
        _ = writeln!(text, "      takes {}", escape(&schema(&definition.input_schema)));
        _ = writeln!(text, "      gives {}", escape(&schema(&definition.output_schema)));
    }
    for left_out in &definitions.left_out {
        _ = writeln!(text, "  no tool: {}: {}", escape(&left_out.function), escape(&left_out.reason));
    }
    _ = writeln!(text, "\nImports, with nothing granted");
    for import in &description.imports {
        _ = writeln!(text, "  {}", escape(&import.name));
    }
    if let Some(requests) = &description.requests {
        _ = writeln!(text, "\nStated needs\n  {}", escape(&serde_json::to_string(requests).unwrap_or_default()));
    }
    for warning in &description.warnings {
        _ = writeln!(text, "\nwarning: {}", escape(warning));
    }
    text
}
