//! `/openapi.json`: what it says holds, as schemathesis finds.

use serde_json::{Value, json};

use super::{ask, guests_of_routes, route, said, usual, usual_routes};
use crate::{
    agents::key,
    host::Folder,
    tools::{script, succeeded},
};

#[test]
fn the_description_is_of_the_tools_own_schemas() {
    let folder = usual();
    let host = folder.serve();
    let document = said(&ask(&host, "GET", "/openapi.json", ""));
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["title"], "portcullis");
    assert!(document.get("security").is_none(), "nobody is asked");
    let echo = &document["paths"]["/echo/{text}"]["get"];
    let text = json!({ "type": "string", "pattern": "^[^\\u0000]*$", "minLength": 1 });
    assert_eq!(echo["parameters"], json!([{ "name": "text", "in": "path", "required": true, "schema": text }]));
    assert_eq!(echo["operationId"], "get_echo_echo");
    let ok = &echo["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(ok["properties"]["result"]["type"], "string", "{ok:#}");
    let person = &document["paths"]["/person"]["post"]["requestBody"];
    assert_eq!(person["required"], true);
    let schema = &person["content"]["application/json"]["schema"];
    assert_eq!(schema["properties"]["value"]["$ref"], "#/components/schemas/types_id_person.in.person");
    assert!(document["components"]["schemas"].get("types_id_person.in.person").is_some());
    let note = &document["paths"]["/note/{name}"]["put"];
    let names: Vec<_> = note["parameters"].as_array().expect("parameters").iter().map(|p| p["name"].clone()).collect();
    assert_eq!(names, ["name", "of"], "constants are nobody's to give");
    assert!(document["paths"]["/u8"]["get"].get("requestBody").is_none());
    // Every reference leads somewhere, and no two operations share a name.
    let mut names = Vec::new();
    for operation in document["paths"]
        .as_object()
        .expect("paths")
        .values()
        .flat_map(|path| path.as_object().expect("methods").values())
    {
        names.push(operation["operationId"].as_str().expect("a name").to_owned());
    }
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
    references(&document, &document);
    assert!(host.stop().success());
    let again = folder.serve();
    assert_eq!(said(&ask(&again, "GET", "/openapi.json", "")).to_string(), document.to_string(), "the same bytes");
}

fn references(document: &Value, within: &Value) {
    match within {
        Value::Object(fields) => {
            if let Some(target) = fields.get("$ref").and_then(Value::as_str) {
                let pointer = target.strip_prefix('#').expect("within the document");
                assert!(document.pointer(pointer).is_some(), "{target}");
            }
            fields.values().for_each(|value| references(document, value));
        }
        Value::Array(items) => items.iter().for_each(|item| references(document, item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Requests that the description allows are answered as it says, and those that it does not allow are refused; with a key, and
/// without one not at all.
#[test]
fn schemathesis_finds_nothing() {
    let roles = "[roles.all]\nallow = [\"echo_*\", \"types_*\"]\n[agents.tester]\nrole = \"all\"\ncalls-per-minute = 10_000_000\nconcurrency = 1000\n";
    // It cannot check answers with tuples: it rewrites `prefixItems` for an older dialect, and then refuses that.
    let tuples = route("GET", "/shape", "types_id_shape", "");
    let more = [
        route("GET", "/char/{value}", "types_id_char", ""),
        route("GET", "/bytes", "types_id_bytes", ""),
        route("POST", "/results", "types_id_results", ""),
        route("GET", "/people", "types_id_people", ""),
        route("GET", "/optional", "types_optional", ""),
        route("PUT", "/optional/{first}", "types_optional", ""),
        route("GET", "/week/{value}", "types_id_week", ""),
        route("POST", "/nothing", "types_nothing", ""),
    ];
    let routes = usual_routes().replace(&tuples, "") + &more.concat();
    let folder = Folder::new(&format!("{}{routes}{roles}", guests_of_routes()));
    let tester = key(&folder, "tester").0;
    let host = folder.serve();
    let url = format!("http://{}/openapi.json", host.address);
    let Some(output) = script("openapi/run", &[&url, &tester]) else { return };
    let told = succeeded(&output);
    assert!(told.contains("No issues found"), "{told}");
    // It did try.
    let calls = folder.audit().iter().filter(|line| line["event"] == "call.intent").count();
    assert!(calls > 200, "{calls} calls\n{told}");
}
