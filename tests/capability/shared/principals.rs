//! One grant line, and each agent has a memory of its own.

use portcullis_policy::Principal;
use serde_json::{Value, json};

use super::{DENIED, Engine, NO_BUCKET, agent, err, put, shared};
use crate::house::{House, answered};

const OWN: &str = "kv = [{ bucket = 'agent-{principal}', access = 'read-write' },
                        { bucket = 'b', prefix = 'of/{plugin}/{principal}/', access = 'read-write' }, { bucket = 'b', prefix = 'of/' }]";

async fn call(house: &House, who: &Principal, tool: &str, arguments: Value) -> Value {
    answered(tool, house.call_as(who, tool, arguments, None).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_kept_apart() {
    for engine in Engine::all() {
        let house = House::sharing(1, 1, engine.warehouse(), vec![shared("s", OWN), shared("t", OWN)]).await;
        let everybody = [
            (Principal::LocalOperator, "local-operator"),
            (Principal::Loopback, "loopback"),
            (agent("alice"), "alice"),
            (agent("al"), "al"),
            // Called like the operator, which makes it nobody else.
            (agent("local-operator"), "agent.local-operator"),
            (agent("agent.local-operator"), "agent.agent.local-operator"),
        ];
        let mine = "agent-{principal}";
        for (who, name) in &everybody {
            let own = json!({ "bucket": mine, "key": "k" });
            assert_eq!(call(&house, who, "s_get", own.clone()).await, Value::Null, "{name} finds nobody else's");
            assert_eq!(call(&house, who, "s_set", put(mine, "k", name, "absent")).await, 1, "{name}");
            let by_name = json!({ "bucket": format!("agent-{name}"), "key": "k" });
            for asked in [own, by_name] {
                let found = json!([name, 1, name, "s"]);
                assert_eq!(call(&house, who, "s_get", asked).await, found, "also as the writer");
            }
            let key = |plugin: &str, name: &str| format!("of/{plugin}/{name}/k");
            assert_eq!(
                call(&house, who, "s_set", put("b", &key("s", name), "x", "absent")).await.as_u64().map(|_| ()),
                Some(())
            );
            for (plugin, whose) in [("t", *name), ("s", "bob"), ("s", &name[..1])] {
                let told = call(&house, who, "s_set", put("b", &key(plugin, whose), "x", "always")).await;
                assert_eq!(told, err(DENIED), "{name} {plugin} {whose}");
            }
        }
        for (who, name) in &everybody {
            for (_, other) in everybody.iter().filter(|(_, other)| other != name) {
                let asked = json!({ "bucket": format!("agent-{other}"), "key": "k" });
                assert_eq!(call(&house, who, "s_get", asked).await, err(DENIED), "{name} asks for {other}");
            }
        }
        let denied = super::refusals(&house);
        assert!(denied.contains(&("agent-alice".to_owned(), NO_BUCKET.to_owned())), "{denied:?}");
    }
}
