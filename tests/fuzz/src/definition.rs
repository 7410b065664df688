//! Definitions: what is read strictly has one canonical form, and the rules end with a bounded list.

use portcullis_policy::{PluginName, ToolName};
use portcullis_trust::{
    MAX_DEFINITION_BYTES, MAX_FINDINGS, NotCanonical, ToolNames, canonical, definition_digest, escaped, examine,
    read_strict,
};

/// Bytes in the place of a definition.
pub fn definition(bytes: &[u8]) {
    let value = match read_strict(bytes) {
        Ok(value) => value,
        Err(error) => return plain(&error.to_string()),
    };
    let plugin = PluginName::new("alpha").expect("a name");
    let name = value.get("name").and_then(|name| name.as_str()).and_then(|name| ToolName::new(name).ok());
    let name = name.unwrap_or_else(|| ToolName::new("alpha_one").expect("a name"));
    let other = (PluginName::new("beta").expect("a name"), ToolName::new("beta_send_mail").expect("a name"));
    let names = ToolNames::from_iter([(&plugin, &name), (&other.0, &other.1)]);
    let findings = examine(&plugin, &name, &value, &names);
    assert!(findings.len() <= 2 * (MAX_FINDINGS + 1), "{} findings", findings.len());
    for finding in &findings {
        plain(&finding.place);
        plain(&finding.detail);
    }
    assert_eq!(examine(&plugin, &name, &value, &names), findings);

    let form = match canonical(&value) {
        Ok(form) => form,
        // Canonical spelling may be longer: `1e20` has 21 digits.
        Err(error) => return assert_eq!(error, NotCanonical::TooLarge),
    };
    assert!(form.len() <= MAX_DEFINITION_BYTES);
    let again = read_strict(&form).expect("the canonical form is strict");
    assert_eq!(canonical(&again).as_deref(), Ok(&*form), "canonical is a fixed point");
    let digest = definition_digest(&value);
    assert_eq!(definition_digest(&again), digest);
    // Another spelling of the same value, where it fits the bound.
    let pretty = serde_json::to_vec_pretty(&value).expect("JSON");
    if pretty.len() <= MAX_DEFINITION_BYTES {
        assert_eq!(definition_digest(&read_strict(&pretty).expect("the same value")), digest);
    }
}

/// Nothing of it may move a cursor or hide a word.
fn plain(text: &str) {
    assert_eq!(escaped(text).to_string(), text, "a message with raw characters");
}
