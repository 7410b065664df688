//! The research team: tasks are posted, claimed and done in parallel, and the audit log has the story.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use super::{Member, Place, can_run};

/// How long the team may take: it takes some seconds.
const PATIENCE: Duration = Duration::from_secs(300);
const WORKERS: [&str; 3] = ["researcher", "analyst", "writer"];

/// The calls of an agent that went well, or the others, by their place in the log.
fn calls(audit: &[Value], who: &str, tool: &str, outcome: &str) -> Vec<usize> {
    let is_it = |line: &&Value| line["event"] == "call.intent" && line["principal"] == who && line["tool"] == tool;
    let intents = audit.iter().filter(is_it).map(|line| line["call"].clone());
    let ends = intents.filter_map(|call| {
        audit
            .iter()
            .position(|line| line["event"] == "call.outcome" && line["call"] == call && line["outcome"] == outcome)
    });
    ends.collect()
}

#[test]
fn a_research_team_writes_a_report() {
    if !can_run() {
        return;
    }
    let place = Place::new("");
    let workers = WORKERS.map(|name| Member::start("research", name, "work", &[place.at(name)], 0));
    let orchestrator = Member::start("research", "orchestrator", "orchestrate", &[place.at("orchestrator")], 0);
    let report = orchestrator.told("read the report", PATIENCE);
    assert_eq!(report["writer"], "writer");
    let sources: Vec<_> = report["report"]["sources"].as_array().expect("sources").iter().collect();
    assert_eq!(sources, ["grids", "prices", "storage", "sun", "tides", "wind"]);
    orchestrator.end();
    let told: Vec<Value> = workers.into_iter().flat_map(Member::end).collect();
    assert_eq!(place.host.stop().code(), Some(0));
    let completed: Vec<&str> =
        told.iter().filter(|line| line["did"] == "completed").filter_map(|line| line["task"].as_str()).collect();
    let each: BTreeSet<_> = completed.iter().copied().collect();
    assert_eq!((completed.len(), each.len()), (8, 8), "each task once: {completed:?}");

    // The ledger has all of it, and in the order in which it must have been.
    let audit = place.folder.audit();
    let done = |who: &str, tool: &str| calls(&audit, who, tool, "ok");
    let posted = done("orchestrator", "post_task");
    assert_eq!(posted.len(), 8);
    let all_claimed: Vec<_> = WORKERS.iter().flat_map(|who| done(who, "complete_task")).collect();
    assert_eq!(all_claimed.len(), 8, "each task is completed once");
    let first = |who: &str, tool: &str| *done(who, tool).first().unwrap_or_else(|| panic!("no {tool} by {who}"));
    let last = |who: &str, tool: &str| *done(who, tool).last().unwrap_or_else(|| panic!("no {tool} by {who}"));
    let story = [
        first("orchestrator", "post_task"),
        last("orchestrator", "post_task"),
        last("analyst", "write_context"),
        last("writer", "write_context"),
        last("writer", "complete_task"),
        last("orchestrator", "read_context"),
    ];
    assert!(story.is_sorted(), "{story:?}");
    for who in ["orchestrator", "researcher", "analyst", "writer"] {
        let denied: Vec<&Value> =
            audit.iter().filter(|line| line["outcome"] == "denied").map(|line| &line["call"]).collect();
        let theirs = audit.iter().filter(|line| line["principal"] == who && denied.contains(&&line["call"]));
        let tools: BTreeSet<&str> = theirs.filter_map(|line| line["tool"].as_str()).collect();
        let own = if who == "orchestrator" { "claim_task" } else { "post_task" };
        assert!(tools.contains(own), "{who} was refused {tools:?}");
        assert!(!calls(&audit, who, "write_context", "tool-error").is_empty(), "{who} wrote in another's area");
    }
    // Every call that began has ended.
    let of = |event: &str| audit.iter().filter(|line| line["event"] == event).count();
    assert_eq!(of("call.intent"), of("call.outcome"));
}
