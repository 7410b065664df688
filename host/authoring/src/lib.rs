//! The drawing office: building plugins and watching their sources.
