//! `doctor`: is everything here that the host needs, and if not, what mends it?

mod shared;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use portcullis_authoring::{Language, WASM_TARGET, toolchains};
use portcullis_gateway::{Mend, look_for_keys};
use portcullis_trust::escaped;
use serde_json::json;

use crate::{
    beside::{Way, gone, identity, way},
    config::{Config, StoreAt},
    host::Host,
    render,
};

#[derive(Debug)]
struct Finding {
    ok: bool,
    /// Escaped.
    what: String,
    /// With one, what is in order may still be better.
    hint: Option<String>,
}

fn good(what: impl AsRef<str>) -> Finding {
    Finding { ok: true, what: escaped(what.as_ref()).to_string(), hint: None }
}

fn bad(what: impl AsRef<str>, hint: impl Into<Option<String>>) -> Finding {
    Finding { ok: false, what: escaped(what.as_ref()).to_string(), hint: hint.into() }
}

fn warning(what: impl AsRef<str>, hint: impl Into<String>) -> Finding {
    Finding { hint: Some(hint.into()), ..good(what) }
}

fn failed(error: &anyhow::Error) -> Finding {
    Finding { ok: false, what: render::told(error), hint: None }
}

pub(crate) async fn run(path: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    let mut findings = machine();
    let read = Config::read(path);
    findings.extend(languages(read.as_ref().ok()));
    match read {
        Err(error) => findings.push(failed(&error)),
        Ok(config) => {
            findings.push(good(format!("the configuration `{}` is valid", path.display())));
            findings.extend(issuer(&config).await);
            if let Err(error) = house(path, config, &mut findings).await {
                findings.push(failed(&error));
            }
        }
    }
    let ok = findings.iter().all(|finding| finding.ok);
    if as_json {
        let all: Vec<_> = findings.iter().map(|f| json!({ "ok": f.ok, "what": f.what, "hint": f.hint })).collect();
        render::json(&json!({ "ok": ok, "findings": all }))?;
    } else {
        for Finding { ok, what, hint } in &findings {
            let hint = hint.as_ref().map(|hint| format!("\n      hint: {}", escaped(hint))).unwrap_or_default();
            let word = match ok {
                true if hint.is_empty() => "ok   ",
                true => "warn ",
                false => "fault",
            };
            render::data(&format!("{word} {what}{hint}\n"))?;
        }
    }
    Ok(ExitCode::from(u8::from(!ok)))
}

/// Whether the keys of the issuer can be had, where the configuration names one.
async fn issuer(config: &Config) -> Option<Finding> {
    let oauth = config.oauth.as_ref()?;
    let from = oauth.jwks().map_or_else(|| oauth.issuer().to_owned(), |file| file.display().to_string());
    Some(match look_for_keys(oauth).await {
        Ok(keys) => good(format!("the issuer's keys can be had from `{from}`: {keys} that verify")),
        Err(reason) => bad(
            format!("the issuer's keys cannot be had from `{from}`: {reason}"),
            "look at the issuer, and at `[auth.oauth]` in the configuration: issuer, or a file in jwks".to_owned(),
        ),
    })
}

/// The state directory, the store and the plugins of a configuration.
async fn house(path: &Path, config: Config, findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    let owns = matches!(config.store, StoreAt::Embedded(_));
    let host = match way(&config.state_dir, identity(path), owns).await? {
        Way::To(mut errand) => {
            findings.push(good(format!("a host runs on the state directory, process {}", errand.host())));
            let listed = errand.list().await.map_err(|error| gone(&error))?;
            findings.extend(listed.wrong.into_iter().map(|Mend { what, hint }| bad(what, hint)));
            shared::look(&config, false, findings).await?;
            Host::for_review(&config, "doctor")?
        }
        Way::Alone(_owner) => {
            shared::look(&config, true, findings).await?;
            let host = Host::open(&config, "doctor")?;
            state(&host, findings);
            plugins(&host, config, findings).await;
            host.close();
            return Ok(());
        }
    };
    state(&host, findings);
    plugins(&host, config, findings).await;
    host.close();
    Ok(())
}

fn state(host: &Host, findings: &mut Vec<Finding>) {
    findings.push(good(format!("the state directory `{}` is private", host.state.path().display())));
}

async fn plugins(host: &Host, config: Config, findings: &mut Vec<Finding>) {
    let Config { plugins, routes, .. } = config;
    let wrong = host.catalogue.apply(plugins).await.err().unwrap_or_default();
    findings.extend(wrong.iter().map(|error| bad(error.to_string(), error.hint())));
    render::waiting("compiling what is not in the cache…", host.catalogue.settled()).await;
    let snapshot = host.catalogue.snapshot();
    findings.push(match snapshot.trouble() {
        Some(trouble) => bad(trouble.what.clone(), trouble.hint.clone()),
        None => good("the lock is the one that this host has accepted"),
    });
    let standing = host.catalogue.standing();
    for path in standing.iter().flat_map(|standing| standing.writable_by_others()) {
        findings.push(good(format!("`{}` can be written by others, who can take plugins away by it", path.display())));
    }
    for plugin in snapshot.plugins() {
        let (name, state) = (&plugin.name, plugin.state.as_str());
        let reason = plugin.state.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
        let next = plugin.next.as_ref().map(|next| format!("; next: {next}")).unwrap_or_default();
        findings.push(match plugin.state.is_fault() {
            true => bad(format!("plugin `{name}` is {state}{reason}"), plugin.next.clone()),
            false => good(format!("plugin `{name}` is {state}, with {} tools{reason}{next}", plugin.tools.len())),
        });
        findings.extend(plugin.warnings.iter().map(|warning| good(format!("plugin `{name}` warns: {warning}"))));
    }
    let misfits = routes.misfits(&snapshot);
    if misfits.is_empty() && !routes.is_empty() {
        findings.push(good("each route calls a tool that is served and takes what it gives"));
    }
    findings.extend(misfits.iter().map(|misfit| bad(misfit.to_string(), misfit.hint())));
}

/// What does not depend on a configuration.
fn machine() -> Vec<Finding> {
    let mut findings = Vec::new();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    match limit.maximum {
        Some(most) if most < 4096 => findings.push(bad(
            format!("this process may open {most} files"),
            "raise the hard limit of open files to 4096 or more: `ulimit -Hn 65536`".to_owned(),
        )),
        most => {
            findings.push(good(format!("{} files may be open", most.map_or("any number of".into(), |n| n.to_string()))))
        }
    }
    findings.push(match portcullis_authoring::has_wasm_target() {
        true => good(format!("the Rust target `{WASM_TARGET}` is there, to build plugins")),
        // Serving needs no toolchain, so that this is no fault.
        false => good(format!(
            "the Rust target `{WASM_TARGET}` is not there; to build plugins: `rustup target add {WASM_TARGET}`"
        )),
    });
    findings
}

/// What builds plugins in JavaScript and Python, where this command was started or where a plugin of the configuration has its
/// source. Serving needs none of it, so that what is missing is no fault.
fn languages(config: Option<&Config>) -> Vec<Finding> {
    let mut dirs = vec![PathBuf::from(".")];
    // A source is `FOLDER/dist/NAME.wasm`, as `build` writes it.
    let built = config.iter().flat_map(|config| &config.plugins).filter_map(|plugin| plugin.source.parent()?.parent());
    dirs.extend(built.map(Path::to_owned));
    let dirs: Vec<_> = dirs.iter().filter_map(|dir| dir.canonicalize().ok()).collect();
    let found = tokio::task::block_in_place(|| toolchains(&dirs));
    let told = found.map(|toolchain| {
        let plugins = match toolchain.language {
            Language::Rust => "plugins",
            Language::JavaScript => "JavaScript plugins",
            Language::Python => "Python plugins",
        };
        good(match toolchain.hint {
            None => format!("to build {plugins} there is {}", toolchain.what),
            Some(hint) => format!("{}; to build {plugins}, in the plugin's folder: `{hint}`", toolchain.what),
        })
    });
    told.into()
}
