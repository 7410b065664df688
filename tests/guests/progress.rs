//! Speaks with the host about its own call.

use std::time::Duration;

use exports::test::progress::jobs::Guest;
use portcullis::host::call;

wit_bindgen::generate!({
    path: "../../wit",
    world: "test:progress/guest",
    generate_all,
    inline: r#"
        package test:progress;

        interface jobs {
            /// Works through `steps` steps of `ms-per-step` milliseconds, reports each, and counts them.
            work: func(steps: u32, ms-per-step: u32) -> u32;
            /// Reports these values in this order, as they are.
            report: func(values: list<f64>, total: option<f64>, message: option<string>);
            /// The principal that the host names.
            who: func() -> string;
            /// Milliseconds until the deadline.
            time-left: func() -> u64;
            /// The name of the call, asked for twice.
            call-id: func() -> tuple<string, string>;
        }

        world guest {
            import portcullis:host/call@0.1.0;
            export jobs;
        }
    "#,
});

struct Jobs;

impl Guest for Jobs {
    fn work(steps: u32, ms_per_step: u32) -> u32 {
        for step in 1..=steps {
            std::thread::sleep(Duration::from_millis(ms_per_step.into()));
            call::report_progress(step.into(), Some(steps.into()), Some(&format!("step {step} of {steps}")));
        }
        steps
    }

    fn report(values: Vec<f64>, total: Option<f64>, message: Option<String>) {
        for value in values {
            call::report_progress(value, total, message.as_deref());
        }
    }

    fn who() -> String {
        call::principal()
    }

    fn time_left() -> u64 {
        call::time_left()
    }

    fn call_id() -> (String, String) {
        (call::call_id(), call::call_id())
    }
}

export!(Jobs);
