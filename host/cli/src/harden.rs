//! `serve --harden`: the process gives up every file that it does not need, before its first thread starts.
//!
//! What is left, and what for: the state directory, to write; the folders of the configuration, the lock and the
//! components, to read; granted directories, as they are granted; what any process reads of the system (`/usr`, the
//! libraries, the settings of names and certificates); this program, to start as the child that compiles. It can listen
//! on no further TCP port, and neither signal nor connect to what is outside by abstract sockets. Connections to other
//! machines stay: grants decide on them.
//!
//! What is granted later needs a restart: Landlock only ever takes away.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use portcullis_policy::Access;
use portcullis_runtime::StateDir;

use crate::{config::Config, host::state_fault, render::Fault};

/// What to do where the kernel can confine the process in part or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Harden {
    /// Stop, unless all rights to files are enforced (Linux 6.2)
    Required,
    /// Take what there is, and say what is missing
    BestEffort,
}

/// The directories of grants that stay open, with what may be done there.
pub(crate) type Reachable = Vec<(PathBuf, Access)>;

/// Confines this process and all that it starts. None where the kernel cannot, and that is good enough.
///
/// # Errors
/// When the kernel cannot, and it has to.
pub(crate) fn confine(path: &Path, config: &Config, how: Harden) -> anyhow::Result<Option<Reachable>> {
    // Made where it is missing: a rule needs a directory that is there.
    let state = StateDir::open(&config.state_dir).map_err(|error| state_fault(&error))?;
    let granted = granted(config);
    match restrict(path, config, state.path(), &granted, how) {
        Ok(true) => Ok(Some(granted)),
        Ok(false) if how == Harden::BestEffort => {
            tracing::warn!("this kernel cannot confine the host: `--harden=best-effort` changes nothing");
            Ok(None)
        }
        Ok(false) => Err(unable("it has no Landlock, or an old one")),
        Err(reason) => Err(unable(&reason)),
    }
}

fn unable(reason: &str) -> anyhow::Error {
    let message = format!("This kernel cannot confine the host as `--harden` asks\n  cause: {reason}");
    Fault::error(message, Some("portcullis serve --harden=best-effort".into()))
}

/// All directories that plugins are granted and that are there, without links.
fn granted(config: &Config) -> Reachable {
    let folder = folder_of(&config.lock);
    let entries = config.plugins.iter().flat_map(|plugin| plugin.grants.files());
    let there = entries.filter_map(|entry| Some((folder.join(entry.host()).canonicalize().ok()?, entry.access())));
    there.collect()
}

fn folder_of(file: &Path) -> PathBuf {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

#[cfg(not(target_os = "linux"))]
fn restrict(_: &Path, _: &Config, _: &Path, _: &Reachable, _: Harden) -> Result<bool, String> {
    Ok(false)
}

#[cfg(target_os = "linux")]
fn restrict(path: &Path, config: &Config, state: &Path, granted: &Reachable, how: Harden) -> Result<bool, String> {
    use landlock::{
        ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
        RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
    };

    /// Rights to files without which nothing is confined: with truncating, Linux 6.2.
    const LEAST: ABI = ABI::V3;
    /// What else there may be: devices' own operations, TCP ports, abstract sockets, signals.
    const MOST: ABI = ABI::V6;

    let read: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let run = read | AccessFs::Execute;
    let write =
        read | make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer});
    let mut rules: Vec<(PathBuf, BitFlags<AccessFs>)> = vec![(state.to_owned(), write | AccessFs::MakeSock)];
    let issuer = config.oauth.iter().flat_map(|oauth| [oauth.jwks(), oauth.ca()]).flatten().map(PathBuf::as_path);
    let sources = config.plugins.iter().map(|plugin| plugin.source.as_path());
    for file in [path, &config.lock].into_iter().chain(sources).chain(issuer) {
        // Files are replaced, so that their folders count; of a link, both.
        for file in [Some(file.to_owned()), file.canonicalize().ok()].into_iter().flatten() {
            rules.push((folder_of(&file), read));
        }
    }
    for file in config.door.tls.iter().flat_map(|(cert, key)| [cert, key]) {
        for file in [Some(file.to_owned()), file.canonicalize().ok()].into_iter().flatten() {
            rules.push((folder_of(&file), read));
        }
    }
    for (place, access) in granted {
        rules.push((place.clone(), if *access == Access::ReadWrite { write } else { read }));
    }
    let mut commands = false;
    for source in config.plugins.iter().flat_map(|plugin| plugin.secrets.values()) {
        match source {
            portcullis_policy::SecretSource::Env(_) => {}
            portcullis_policy::SecretSource::File(file) => rules.push((file.clone(), read)),
            portcullis_policy::SecretSource::Command(command) => {
                commands = true;
                rules.extend(command.first().map(|program| (PathBuf::from(program), run)));
            }
        }
    }
    rules.extend(SYSTEM.iter().chain(&SETTINGS).map(|place| (place.into(), read)));
    rules.extend(LIBRARIES.map(|place| (place.into(), run)));
    if commands {
        // Programs that an operator chose read what they like of the system's settings.
        rules.push(("/etc".into(), read));
        rules.extend(PROGRAMS.map(|place| (place.into(), run)));
    }
    rules.push(("/dev/null".into(), make_bitflags!(AccessFs::{ReadFile | WriteFile})));
    // This program, even where another has taken its place on the disk.
    rules.push(("/proc/self/exe".into(), make_bitflags!(AccessFs::{ReadFile | Execute})));
    // Of a link, the folder: whoever manages the network replaces the file in it.
    let names = Path::new("/etc/resolv.conf").canonicalize().ok().map(|file| folder_of(&file));
    rules.extend(names.filter(|folder| folder != Path::new("/etc")).map(|folder| (folder, read)));
    rules.extend(Path::new("/etc/ssl/certs").canonicalize().ok().map(|folder| (folder, read)));
    rules.extend(
        ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().filter_map(|name| Some((std::env::var_os(name)?.into(), read))),
    );

    let least = match how {
        Harden::Required => CompatLevel::HardRequirement,
        Harden::BestEffort => CompatLevel::BestEffort,
    };
    let made = || -> Result<RulesetCreated, RulesetError> {
        Ok(Ruleset::default()
            .set_compatibility(least)
            .handle_access(AccessFs::from_all(LEAST))?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(MOST))?
            .handle_access(AccessNet::BindTcp)?
            .scope(Scope::from_all(MOST))?
            .create()?
            .set_compatibility(CompatLevel::BestEffort))
    };
    let mut ruleset = made().map_err(|error| error.to_string())?;
    for (place, rights) in rules {
        // What is not there needs no rule; of a file, there are only the rights that files have.
        let rights = if place.is_dir() { rights } else { rights & AccessFs::from_file(MOST) };
        let Ok(place) = PathFd::new(&place) else { continue };
        ruleset = ruleset.add_rule(PathBeneath::new(place, rights)).map_err(|error| error.to_string())?;
    }
    let status = ruleset.restrict_self().map_err(|error| error.to_string())?;
    if status.ruleset == RulesetStatus::PartiallyEnforced {
        tracing::warn!("this kernel confines the host in part: newer ones also close TCP ports, sockets and signals");
    }
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// What any process reads: names and addresses, certificates, time zones, processors.
#[cfg(target_os = "linux")]
const SYSTEM: [&str; 7] =
    ["/usr", "/proc/self", "/sys/fs/cgroup", "/sys/devices/system/cpu", "/dev/urandom", "/dev/random", "/dev/zero"];
/// What of `/etc` the same need. A file of it that is replaced later is another one, and closed until a restart.
#[cfg(target_os = "linux")]
const SETTINGS: [&str; 16] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/malloc.conf",
    "/etc/alternatives",
];
/// Where the loader of programs and its libraries are: starting the child that compiles runs it.
#[cfg(target_os = "linux")]
const LIBRARIES: [&str; 5] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/nix/store"];
/// Where commands of secrets are.
#[cfg(target_os = "linux")]
const PROGRAMS: [&str; 3] = ["/bin", "/sbin", "/usr"];
