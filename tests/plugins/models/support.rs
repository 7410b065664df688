//! Support tickets.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_plugins::MemoryShelf;
use proptest::prelude::*;
use support::{Draft, Said, State, add, all, escalate, get, resolve, save, status};

use crate::{NAMES, histories};

const TICKETS: [&str; 3] = ["T-1", "T-10", "t.2"];
const ASPECTS: [&str; 2] = ["tone", "billing"];

#[derive(Clone, Debug)]
enum Deed {
    Save {
        text: u8,
    },
    Analyse {
        aspect: usize,
        text: u8,
    },
    /// With how many analyses that it says it has read: none, as many as there are, one fewer.
    End {
        resolve: bool,
        text: u8,
        read: u8,
    },
    Read,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        2 => (0..2_u8).prop_map(|text| Deed::Save { text }),
        4 => (0..ASPECTS.len(), 0..3_u8).prop_map(|(aspect, text)| Deed::Analyse { aspect, text }),
        2 => (any::<bool>(), 0..2_u8, 0..3_u8).prop_map(|(resolve, text, read)| Deed::End { resolve, text, read }),
        1 => Just(Deed::Read),
    ]
}

#[derive(Clone)]
struct Modelled {
    text: u8,
    state: State,
    outcome: Option<String>,
    found: BTreeMap<(&'static str, &'static str), String>,
    total: u32,
}

type Model = BTreeMap<&'static str, Modelled>;

fn act(shelf: &MemoryShelf, model: &mut Model, who: &'static str, id: &'static str, deed: &Deed, between: Between<'_>) {
    let total = model.get(id).map_or(0, |ticket| ticket.total);
    match deed {
        Deed::Save { text } => {
            let text = *text;
            let draft = Draft { id: id.into(), customer: "c".into(), subject: "s".into(), body: text.to_string() };
            let saved = save(shelf, &draft);
            between(model);
            assert_eq!(saved.is_ok(), model.get(id).is_none_or(|ticket| ticket.text == text), "{saved:?}");
            let fresh = Modelled { text, state: State::New, outcome: None, found: BTreeMap::new(), total: 0 };
            model.entry(id).or_insert(fresh);
        }
        Deed::Analyse { aspect, text } => {
            let (aspect, finding) = (ASPECTS[*aspect], text.to_string());
            let said = Said { aspect: aspect.into(), finding: finding.clone(), confidence: None };
            let added = add(shelf, id, &said);
            between(model);
            assert_eq!(added.is_ok(), model.get(id).is_some_and(|ticket| !ticket.state.is_end()), "{added:?}");
            if let Some(ticket) = model.get_mut(id).filter(|ticket| !ticket.state.is_end()) {
                ticket.state = State::Analysing;
                ticket.found.insert((who, aspect), finding);
                ticket.total += 1;
            }
        }
        Deed::End { resolve: resolves, text, read } => {
            let said = match read {
                0 => None,
                1 => Some(total),
                _ => Some(total.wrapping_sub(1)),
            };
            let (state, outcome) = (if *resolves { State::Resolved } else { State::Escalated }, text.to_string());
            let ended =
                if *resolves { resolve(shelf, id, &outcome, said) } else { escalate(shelf, id, &outcome, said) };
            between(model);
            let fits = model.get(id).is_some_and(|ticket| match ticket.state.is_end() {
                true => ticket.state == state && ticket.outcome.as_ref() == Some(&outcome),
                false => said.is_none_or(|said| said == ticket.total),
            });
            assert_eq!(ended.is_ok(), fits, "{ended:?}");
            if let Some(ticket) = model.get_mut(id).filter(|_| fits) {
                ticket.state = state;
                ticket.outcome = Some(outcome);
            }
        }
        Deed::Read => {
            let read = all(shelf, id, None, None);
            between(model);
            assert_eq!(read.is_ok(), model.contains_key(id));
        }
    }
}

type Between<'a> = &'a mut dyn FnMut(&mut Model);

fn compare(shelf: &MemoryShelf, model: &Model) {
    for (id, ticket) in model {
        let shown = get(shelf, id).unwrap();
        assert_eq!((shown.state, &shown.outcome), (ticket.state, &ticket.outcome));
        let entered: Vec<_> = shown.history.iter().map(|event| event.state).collect();
        let legal: [&[State]; 6] = [
            &[State::New],
            &[State::New, State::Analysing],
            &[State::New, State::Resolved],
            &[State::New, State::Escalated],
            &[State::New, State::Analysing, State::Resolved],
            &[State::New, State::Analysing, State::Escalated],
        ];
        assert!(legal.contains(&entered.as_slice()), "{entered:?}");
        let (mut found, mut after) = (BTreeMap::new(), None);
        loop {
            let page = all(shelf, id, after.as_deref(), Some(2)).unwrap();
            assert_eq!((page.state, page.total), (ticket.state, ticket.total));
            for item in page.items {
                assert!(found.insert((item.analyst, item.aspect), item.finding).is_none(), "once");
            }
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        let expected: BTreeMap<_, _> = ticket
            .found
            .iter()
            .map(|((who, aspect), text)| (((*who).into(), (*aspect).into()), text.clone()))
            .collect();
        assert_eq!(found, expected);
        let standing = status(shelf, Some(id), None, None, None).unwrap().tickets.remove(0);
        let analysts: BTreeSet<_> = standing.analysts.iter().map(String::as_str).collect();
        assert_eq!(analysts, ticket.found.keys().map(|(who, _)| *who).collect());
    }
    // Each in the list of its state, and in no other.
    for state in [State::New, State::Analysing, State::Resolved, State::Escalated] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = status(shelf, None, Some(state), after.as_deref(), Some(1)).unwrap();
            listed.extend(page.tickets.into_iter().map(|ticket| ticket.id));
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        let expected: Vec<_> = model.iter().filter(|(_, ticket)| ticket.state == state).map(|(id, _)| *id).collect();
        assert_eq!(listed, expected);
    }
}

proptest! {
    #![proptest_config(histories())]

    #[test]
    fn tickets_are_as_the_model_says(
        history in prop::collection::vec(
            ((0..NAMES.len(), 0..TICKETS.len(), deed()), (0..NAMES.len(), deed()), any::<bool>()), 1..30),
    ) {
        let (root, mut model) = (MemoryShelf::new("root"), Model::new());
        for ((who, ticket, deed), (other, between), disturbed) in &history {
            let (who, other, id) = (NAMES[*who], NAMES[*other], TICKETS[*ticket]);
            let shelf = root.of(who);
            let shared = std::rc::Rc::new(std::cell::RefCell::new(model.clone()));
            if *disturbed {
                let (inner, theirs, between) = (std::rc::Rc::clone(&shared), root.of(other), between.clone());
                shelf.between(move || act(&theirs, &mut inner.borrow_mut(), other, id, &between, &mut |_| {}));
            }
            let gone = shelf.clone();
            act(&shelf, &mut model, who, id, deed, &mut |model| {
                if *disturbed && gone.has_happened() {
                    *model = shared.borrow().clone();
                }
            });
            compare(&root, &model);
        }
    }
}

#[test]
fn an_analyst_has_so_many_aspects() {
    let shelf = MemoryShelf::new("alice");
    save(&shelf, &Draft { id: "T".into(), customer: "c".into(), subject: "s".into(), body: String::new() }).unwrap();
    let said = |aspect: &str| Said { aspect: aspect.into(), finding: "f".into(), confidence: None };
    for at in 0..16 {
        add(&shelf, "T", &said(&format!("a{at}"))).unwrap();
    }
    assert!(add(&shelf, "T", &said("one more")).unwrap_err().contains("1 to 64 letters"));
    assert!(add(&shelf, "T", &said("one-more")).unwrap_err().contains("you have 16 aspects of T"));
    assert!(add(&shelf, "T", &said("a3")).is_ok());
    assert!(add(&shelf.of("bob"), "T", &said("a")).is_ok(), "another has a place of his own");
}

fn ticket(shelf: &MemoryShelf) {
    save(shelf, &Draft { id: "T".into(), customer: "c".into(), subject: "s".into(), body: String::new() }).unwrap();
}

/// An answer stays small however long the findings are as JSON, and the pages have them all.
#[test]
fn a_page_holds_so_many_bytes() {
    let shelf = MemoryShelf::new("alice");
    ticket(&shelf);
    // The longest there is: a control character has six bytes as JSON.
    let finding = "\u{1}".repeat(16 << 10);
    for at in 0..16 {
        let said = Said { aspect: format!("a{at:02}"), finding: finding.clone(), confidence: None };
        add(&shelf, "T", &said).unwrap();
    }
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = all(&shelf, "T", after.as_deref(), None).unwrap();
        let bytes: usize = page.items.iter().map(|item| serde_json::to_string(&item.finding).unwrap().len()).sum();
        assert!(bytes < 512 << 10 && !page.items.is_empty(), "{bytes} bytes");
        found.extend(page.items.into_iter().map(|item| item.aspect));
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    assert_eq!(found, (0..16).map(|at| format!("a{at:02}")).collect::<Vec<_>>());
}

/// What is added between two pages, before the second one, is on no page: the `total` of neither ends the ticket.
#[test]
fn nobody_ends_a_ticket_for_what_is_on_no_page() {
    let shelf = MemoryShelf::new("alice");
    ticket(&shelf);
    let said = |aspect: &str| Said { aspect: aspect.into(), finding: "f".into(), confidence: None };
    for aspect in ["b", "c"] {
        add(&shelf, "T", &said(aspect)).unwrap();
    }
    let first = all(&shelf, "T", None, Some(1)).unwrap();
    add(&shelf, "T", &said("a")).unwrap();
    let second = all(&shelf, "T", first.next.as_deref(), Some(1)).unwrap();
    assert_eq!((first.total, second.total, second.next), (2, 2, None));
    assert!(resolve(&shelf, "T", "done", Some(second.total)).unwrap_err().contains("T has 3 analyses, and you said 2"));
    assert!(all(&shelf, "T", Some("alice/b"), None).unwrap_err().contains("`after` is none"));
    let again = all(&shelf, "T", None, None).unwrap();
    assert!(resolve(&shelf, "T", "done", Some(again.total)).is_ok());
}
