//! A plugin is a WIT interface, and a type that implements it.

use exports::example::hello::greetings::{Greeting, Guest, Language};

wit_bindgen::generate!();

struct Hello;

impl Guest for Hello {
    fn greet(name: String) -> Result<String, String> {
        if name.trim().is_empty() {
            return Err("a greeting needs a name".into());
        }
        Ok(format!("Hello, {name}!"))
    }

    fn greet_in(greeting: Greeting) -> String {
        let hello = match greeting.language.unwrap_or(Language::English) {
            Language::English => "Hello",
            Language::French => "Bonjour",
            Language::German => "Guten Tag",
        };
        format!("{hello}, {}!", greeting.name)
    }
}

export!(Hello);
