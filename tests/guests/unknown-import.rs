//! Imports an interface that no host has.

use exports::test::unknown_import::tools::Guest;

wit_bindgen::generate!({
    generate_all,
    inline: r#"
        package test:unknown-import;

        interface tools {
            ask: func() -> string;
        }

        world guest {
            import acme:unknown/thing;
            export tools;
        }

        package acme:unknown {
            interface thing {
                answer: func() -> string;
            }
        }
    "#,
});

struct Tools;

impl Guest for Tools {
    fn ask() -> String {
        acme::unknown::thing::answer()
    }
}

export!(Tools);
