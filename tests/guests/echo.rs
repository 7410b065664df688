//! The trivial tool: what a call costs when the tool itself costs nothing.

use exports::test::echo::echo::Guest;

wit_bindgen::generate!({
    inline: r#"
        package test:echo;

        interface echo {
            echo: func(text: string) -> string;
        }

        world guest {
            export echo;
        }
    "#,
});

struct Echo;

impl Guest for Echo {
    fn echo(text: String) -> String {
        text
    }
}

export!(Echo);
