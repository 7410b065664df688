//! The register: which plugins are there, and which generation of each runs.
