//! JavaScript plugins: a `package.json` with a `portcullis` key, and componentize-js.
//!
//! ```json
//! {
//!   "name": "weather",
//!   "type": "module",
//!   "main": "src/weather.js",
//!   "portcullis": { "world": "weather", "features": ["http"] },
//!   "devDependencies": { "@bytecodealliance/componentize-js": "0.23.0" }
//! }
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis_policy::PluginName;
use serde::Deserialize;

use crate::find::NotBuilt;
use crate::foreign::{self, Bounds, Job, Tool, ToolError};

/// The manifest.
pub(crate) const MANIFEST: &str = "package.json";
/// The package that makes components.
pub(crate) const PACKAGE: &str = "@bytecodealliance/componentize-js";
/// The version that the tests of Portcullis use.
pub(crate) const VERSION: &str = "0.23.0";
/// What runs in Node.
const SCRIPT: &str = include_str!("javascript/componentize.mjs");
/// Where the folders of packages are, from a folder upwards.
const PACKAGES: &str = "node_modules";

/// What of WASI the engine has unless the plugin says: all but the way in for HTTP requests, which no host opens.
const FEATURES: [Feature; 4] = [Feature::Stdio, Feature::Random, Feature::Clocks, Feature::Http];

/// A part of WASI that componentize-js links the engine with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum Feature {
    /// `console`.
    Stdio,
    /// `Math.random`, `crypto`.
    Random,
    /// `Date`, `performance`, `setTimeout`.
    Clocks,
    /// `fetch`.
    Http,
    /// The event of an incoming request.
    FetchEvent,
}

/// `package.json`, as far as it is about a plugin.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) name: PluginName,
    entry: PathBuf,
    pub(crate) wit: PathBuf,
    pub(crate) world: Option<String>,
    features: Vec<Feature>,
    /// Whether it asks npm for the toolchain.
    lists_toolchain: bool,
}

#[derive(Deserialize)]
struct Package {
    name: Option<String>,
    main: Option<String>,
    #[serde(default)]
    portcullis: Option<Section>,
    #[serde(default, rename = "devDependencies")]
    dev_dependencies: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    dependencies: serde_json::Map<String, serde_json::Value>,
}

/// The `portcullis` key.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Section {
    wit: Option<String>,
    world: Option<String>,
    features: Option<Vec<Feature>>,
}

impl Manifest {
    /// Of the text of a `package.json`.
    pub(crate) fn parse(text: &str) -> Result<Self, NotBuilt> {
        let wrong = |message: String| NotBuilt::Manifest { file: MANIFEST, message };
        let unmarked = || NotBuilt::Unmarked { file: MANIFEST, mark: "\"portcullis\": {}" };
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        // Before the rest is read: a package that is none of ours may say anything.
        if value.get("portcullis").is_none() {
            return Err(unmarked());
        }
        let package: Package = serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
        let section = package.portcullis.ok_or_else(unmarked)?;
        let written = package.name.ok_or_else(|| wrong("no `name`".into()))?;
        // The scope is whose it is, and no part of the tools' names.
        let bare =
            written.strip_prefix('@').and_then(|scoped| scoped.split_once('/')).map_or(&*written, |(_, name)| name);
        Ok(Self {
            name: PluginName::new(bare).map_err(NotBuilt::Name)?,
            entry: foreign::inside(package.main.as_deref().unwrap_or("index.js"), "main").map_err(wrong)?,
            wit: foreign::inside(section.wit.as_deref().unwrap_or(foreign::WIT), "portcullis.wit").map_err(wrong)?,
            world: section.world,
            features: section.features.unwrap_or_else(|| FEATURES.to_vec()),
            lists_toolchain: package.dev_dependencies.contains_key(PACKAGE)
                || package.dependencies.contains_key(PACKAGE),
        })
    }

    /// Makes the component, from the plugin in `dir`, an absolute path.
    pub(crate) fn build(&self, dir: &Path, world: &str, bounds: &Bounds<'_>) -> Result<Vec<u8>, ToolError> {
        let entry = dir.join(&self.entry);
        // Before it is looked for: what is outside is nobody's business.
        foreign::is_own(dir, &entry)?;
        if !entry.is_file() {
            return Err(ToolError::NoEntry { path: entry, hint: format!("write in `{MANIFEST}`: \"main\": \"FILE\"") });
        }
        let Node { program, packages } = self.toolchain(dir)?;
        let mut job = Job::new()?;
        let told = serde_json::json!({
            "folder": dir, "entry": entry, "wit": dir.join(&self.wit), "world": world, "features": self.features,
            "target": job.target(),
        });
        let mut node = Command::new(program);
        node.current_dir(packages).args(["--input-type=module", "--eval", SCRIPT, "--"]).arg(told.to_string());
        job.run(node, Tool::JavaScript, bounds)
    }

    /// What builds it.
    fn toolchain(&self, dir: &Path) -> Result<Node, ToolError> {
        toolchain(dir).ok_or_else(|| {
            let dir = foreign::quoted(dir);
            let what = if self.lists_toolchain { String::new() } else { format!(" --save-dev {PACKAGE}@{VERSION}") };
            ToolError::Missing { what: PACKAGE, hint: format!("npm install --prefix {dir}{what}") }
        })
    }
}

/// Node, and the folder from which it can import the package.
pub(crate) struct Node {
    pub(crate) program: PathBuf,
    packages: PathBuf,
}

impl Node {
    /// The manifest of the package that makes components.
    pub(crate) fn package(&self) -> PathBuf {
        self.packages.join(PACKAGES).join(PACKAGE).join(MANIFEST)
    }
}

/// What builds a plugin in `dir`: a package there or above, else that of the folder of toolchains.
pub(crate) fn toolchain(dir: &Path) -> Option<Node> {
    let found = |node: &Node| node.package().is_file();
    let near = dir.ancestors().map(|folder| Node { program: "node".into(), packages: folder.to_owned() }).find(found);
    near.or_else(|| {
        let tools = foreign::tools()?;
        let own = tools.join("bin/node");
        let program = if own.is_file() { own } else { "node".into() };
        Some(Node { program, packages: tools.join("npm") }).filter(found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_says_what_differs_from_the_usual() {
        let least = Manifest::parse(r#"{"name": "@acme/weather", "portcullis": {}, "scripts": {"x": "y"}}"#).unwrap();
        assert_eq!(least.name.as_str(), "weather");
        assert_eq!((&*least.entry, &*least.wit), (Path::new("index.js"), Path::new("wit")));
        assert!(least.world.is_none() && least.features == FEATURES && !least.lists_toolchain);
        let all = Manifest::parse(
            r#"{"name": "a", "main": "./src/a.js", "devDependencies": {"@bytecodealliance/componentize-js": "*"},
                "portcullis": {"wit": "api/wit", "world": "a", "features": ["stdio"]}}"#,
        )
        .unwrap();
        assert_eq!((&*all.entry, &*all.wit), (Path::new("src/a.js"), Path::new("api/wit")));
        assert!(all.world.as_deref() == Some("a") && all.features == [Feature::Stdio] && all.lists_toolchain);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, expected) in [
            ("{", "its `package.json` cannot be read: EOF"),
            ("{}", "its `package.json` does not say that it is a plugin"),
            (r#"{"name": "a", "portcullis": null}"#, "its `package.json` does not say that it is a plugin"),
            (r#"{"name": 7}"#, "its `package.json` does not say that it is a plugin"),
            (r#"{"portcullis": {}}"#, "no `name`"),
            (r#"{"name": "a b", "portcullis": {}}"#, "no name for a plugin"),
            (r#"{"name": "a", "portcullis": {"wurld": "a"}}"#, "unknown field `wurld`"),
            (r#"{"name": "a", "portcullis": {"features": ["sockets"]}}"#, "unknown variant `sockets`"),
            (r#"{"name": "a", "main": "../a.js", "portcullis": {}}"#, "`main` must be a path inside the folder"),
            (r#"{"name": "a", "portcullis": {"wit": "/etc"}}"#, "`portcullis.wit` must be a path inside the folder"),
            (r#"{"name": "a", "main": "", "portcullis": {}}"#, "`main` must be a path inside the folder"),
        ] {
            let found = Manifest::parse(text).unwrap_err().to_string();
            assert!(found.contains(expected), "{text}: {found}");
        }
    }
}
