//! F10 by property: whatever calls do, one by one or at once, files together stay within the quota, and the books exact.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use portcullis_artifacts as guests;
use serde_json::{Value, json};

use super::{Ground, bytes};
use crate::house::{House, built, patient};

const QUOTA: u64 = 2000;
/// What a length past the quota is answered with.
const NO_SPACE: &str = "No space left on device";
/// What libc makes of any error of a stream: only the interface itself tells that it was for want of space.
const NO_WRITE: &str = "I/O error";

/// Random numbers that are the same at each run of one seed (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn name(&mut self) -> String {
        let folder = if self.below(3) == 0 { "d/" } else { "" };
        format!("{folder}{}", self.below(4))
    }
}

/// What should be there: files by name, with their lengths, and one folder, which is always there.
#[derive(Default)]
struct Model(BTreeMap<String, u64>);

impl Model {
    fn used(&self) -> u64 {
        self.0.values().sum()
    }

    /// Makes a step, and says what it must answer.
    fn step(&mut self, dice: &mut Dice) -> (Value, Option<&'static str>) {
        let name = dice.name();
        let at = format!("/data/{name}");
        let length = self.0.get(&name).copied();
        let grow = |model: &mut Self, end: u64| {
            let before = length.unwrap_or(0);
            // Making the file is done before it grows.
            model.0.entry(name.clone()).or_insert(0);
            if model.used() + end.saturating_sub(before) > QUOTA {
                return Some(NO_WRITE);
            }
            model.0.insert(name.clone(), end.max(before));
            None
        };
        match dice.below(7) {
            0 => {
                let more = dice.below(600);
                let end = length.unwrap_or(0) + more;
                (json!({ "tag": "append", "value": [at, more] }), grow(self, end))
            }
            1 | 2 => {
                let (offset, more) = (dice.below(800), dice.below(600));
                // Writing nothing lengthens nothing.
                let end = if more == 0 { 0 } else { offset + more };
                (json!({ "tag": "write-at", "value": [at, offset, more] }), grow(self, end))
            }
            3 => {
                let size = dice.below(1500);
                let answer = match length {
                    None => Some("No such file or directory"),
                    Some(before) if self.used() - before + size > QUOTA && size > before => Some(NO_SPACE),
                    Some(_) => {
                        self.0.insert(name, size);
                        None
                    }
                };
                (json!({ "tag": "set-size", "value": [at, size] }), answer)
            }
            4 => {
                let answer = self.0.remove(&name).map_or(Some("No such file or directory"), |_| None);
                (json!({ "tag": "remove", "value": at }), answer)
            }
            _ => {
                let new = dice.name();
                let answer = match self.0.remove(&name) {
                    Some(length) => {
                        self.0.insert(new.clone(), length);
                        None
                    }
                    None => Some("No such file or directory"),
                };
                (json!({ "tag": "rename", "value": [at, format!("/data/{new}")] }), answer)
            }
        }
    }
}

fn ground() -> (Ground, String) {
    let ground = Ground::new();
    std::fs::create_dir(ground.data().join("d")).expect("a folder");
    let grant = ground.grant(&format!(", access = \"read-write\", quota = \"{QUOTA}B\""));
    (ground, grant)
}

/// All that is left can be written, and not a byte more.
async fn check_exact(house: &House, ground: &Ground) {
    let left = QUOTA - bytes(&ground.data());
    let append = |more: u64| json!({ "steps": [{ "tag": "append", "value": ["/data/last", more] }] });
    assert_eq!(house.answer("f_script", append(left)).await, json!([null]));
    assert_eq!(house.answer("f_script", append(1)).await, json!([NO_WRITE]));
    assert_eq!(bytes(&ground.data()), QUOTA);
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_the_quota_is_exact_one_call_after_the_other() {
    for seed in (1..=8).map(|seed: u64| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
        let (ground, grant) = ground();
        let house = House::open(1, vec![built("f", guests::FILES, patient()).granted(&grant)]).await;
        let (mut dice, mut model) = (Dice(seed), Model::default());
        for _ in 0..10 {
            let (steps, answers): (Vec<_>, Vec<_>) = (0..30).map(|_| model.step(&mut dice)).unzip();
            let answer = house.answer("f_script", json!({ "steps": steps })).await;
            assert_eq!(answer, json!(answers), "seed {seed}: {steps:#?}");
            assert_eq!(bytes(&ground.data()), model.used(), "seed {seed}");
        }
        check_exact(&house, &ground).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_the_quota_holds_for_calls_at_once() {
    let (ground, grant) = ground();
    let two = ["f", "g"].map(|name| built(name, guests::FILES, patient()).granted(&grant));
    let house = House::open(8, two.into()).await;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = most.max(bytes(&ground.data()));
            }
            most
        });
        let run = |tool: &'static str, seed: u64| {
            let house = &house;
            async move {
                let (mut dice, mut model) = (Dice(seed), Model::default());
                for _ in 0..8 {
                    let steps: Vec<_> = (0..30).map(|_| model.step(&mut dice).0).collect();
                    house.answer(tool, json!({ "steps": steps })).await;
                }
            }
        };
        let all = async {
            tokio::join!(run("f_script", 11), run("f_script", 12), run("g_script", 13), run("g_script", 14));
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(all));
        over.store(true, Ordering::Relaxed);
        // A file that is renamed while it is looked for may be seen twice: the sum on the way is no more than twice.
        assert!(watching.join().expect("a sum") <= 2 * QUOTA);
    });
    assert!(bytes(&ground.data()) <= QUOTA);
    check_exact(&house, &ground).await;
}
