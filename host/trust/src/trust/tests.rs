//! What approving, removing, disabling and accepting a lock do, and what every spoiled file does.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use super::*;
use crate::{
    Approval, ApproveRequest, Approved, Candidate, Judgement, LockReason,
    samples::{bytes, candidate, name},
};

pub(super) struct House {
    pub(super) dir: tempfile::TempDir,
    pub(super) trust: Trust,
}

pub(super) fn open(folder: &Path, key: u8, step: Option<fn(Step)>) -> Trust {
    let options =
        TrustOptions { state: folder.join("state"), lock: folder.join("portcullis.lock"), key: [key; 32], step };
    Trust::open(options).expect("opened")
}

pub(super) fn request(digest: Digest) -> ApproveRequest {
    ApproveRequest {
        expected: DigestPrefix::parse(&digest.short()).expect("a prefix").into(),
        allow_downgrade: false,
        by: "alice".to_owned(),
        at: "2026-11-21T12:00:00Z".to_owned(),
        known: BTreeSet::new(),
    }
}

pub(super) fn approve(trust: &Trust, plugin: &str, version: u64) -> Result<Approved, TrustError> {
    let candidate = candidate(plugin, version);
    trust.approve(&candidate, &bytes(plugin, version), request(candidate.sha256))
}

/// A judgement in a word, with the version where bytes are named.
pub(super) fn word(judgement: &Judgement) -> String {
    let version = |block: &Approval| {
        let plugin = block.source.trim_start_matches("plugins/").trim_end_matches(".wasm");
        let version = (0..2000).find(|version| Digest::of(&bytes(plugin, *version)) == block.sha256);
        version.expect("a version of the tests").to_string()
    };
    match judgement {
        Judgement::Approved(block) => version(block),
        Judgement::Disabled(block) => format!("disabled {}", block.as_deref().map(version).unwrap_or_default()),
        Judgement::Unapproved => "unapproved".to_owned(),
        Judgement::LockDiffers { reason, differs } => {
            format!("{} {}", reason.code(), differs.join(" ")).trim().to_owned()
        }
    }
}

impl House {
    /// Two plugins, each approved twice.
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let trust = open(dir.path(), 7, None);
        for version in [1, 2] {
            approve(&trust, "alpha", version).expect("approved");
            approve(&trust, "beta", version).expect("approved");
        }
        Self { dir, trust }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn lock(&self) -> String {
        fs::read_to_string(self.path("portcullis.lock")).expect("a lock")
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    /// How `alpha`, `beta` and a plugin that nobody knows stand, and whether there is trouble.
    pub(super) fn check(&self, what: &str, alpha: &str, beta: &str, other: &str) {
        let standing = self.trust.reload();
        let words = ["alpha", "beta", "other"].map(|plugin| word(&standing.of(&name(plugin))));
        assert_eq!(words, [alpha, beta, other], "{what}");
        let runs = |word: &str| word.parse::<u64>().is_ok() || word == "unapproved" || word.starts_with("disabled");
        match standing.trouble() {
            None => assert!([alpha, beta, other].into_iter().all(runs), "{what}: no trouble"),
            Some(trouble) => {
                assert!(trouble.hint().is_some(), "{what}: {trouble}");
                assert!(trouble.whole.is_some() || ![alpha, beta, other].into_iter().all(runs), "{what}: {trouble}");
            }
        }
    }
}

#[test]
fn approving_says_what_it_changed_and_lasts() {
    let house = House::new();
    house.check("approved twice", "2", "2", "unapproved");
    let Approved { before, approval, .. } = approve(&house.trust, "alpha", 3).expect("approved");
    assert_eq!(before.map(|before| before.sha256), Some(candidate("alpha", 2).sha256));
    assert_eq!(approval.approved_by, "alice");
    let candidate = candidate("alpha", 3);
    assert_eq!(house.trust.components().get(candidate.sha256).expect("kept"), bytes("alpha", 3));
    for (tool, approved) in &approval.tools {
        let definition = house.trust.components().definition(approved.sha256).expect("kept");
        assert_eq!(Some(&definition), candidate.tools.get(tool).map(|tool| &tool.json));
    }
    let again = House { trust: open(house.dir.path(), 7, None), dir: house.dir };
    again.check("opened again", "3", "2", "unapproved");
    assert_eq!(again.trust.reload().accepted(&name("alpha")).as_deref(), Some(&approval));
    let removed = again.trust.remove(&name("alpha"), &BTreeSet::from([name("alpha")])).expect("removed");
    assert_eq!(removed.before, Some(approval));
    again.check("removed", "unapproved", "2", "unapproved");
    assert!(again.lock().contains("# begin alpha\n# end alpha\n"));
}

#[test]
fn files_are_for_their_owner_and_the_lock_is_for_all() {
    let house = House::new();
    let mode = |name: &str| fs::metadata(house.path(name)).expect("there").mode() & 0o777;
    assert_eq!((mode("state/accepted.json"), mode("state/trust.lock")), (0o600, 0o600));
    assert_eq!(mode("portcullis.lock") & 0o600, 0o600);
    assert_eq!(mode("portcullis.lock") & !0o644, 0);
    fs::set_permissions(house.path(""), fs::Permissions::from_mode(0o755)).expect("a mode");
    assert!(house.trust.reload().writable_by_others().is_empty());
    fs::set_permissions(house.path(""), fs::Permissions::from_mode(0o775)).expect("a mode");
    fs::set_permissions(house.path("portcullis.lock"), fs::Permissions::from_mode(0o666)).expect("a mode");
    assert_eq!(house.trust.reload().writable_by_others().len(), 2);
    assert!(house.trust.reload().trouble().is_none(), "a warning");
}

/// P10, P12: a digest that was not read, bytes that changed since, and older bytes without the flag.
#[test]
fn what_was_not_read_is_not_approved() {
    let house = House::new();
    let (lock, record) = (house.lock(), fs::read(house.path("state/accepted.json")).expect("a record"));
    let three = candidate("alpha", 3);
    let check = |candidate: &Candidate, bytes: &[u8], request: ApproveRequest, expected: &str| {
        let error = house.trust.approve(candidate, bytes, request).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().expect("a hint").starts_with("portcullis "), "{error}");
        assert_eq!(house.lock(), lock, "{expected}");
        assert_eq!(fs::read(house.path("state/accepted.json")).expect("a record"), record, "{expected}");
    };
    check(&three, &bytes("alpha", 3), request(Digest::of(b"other")), "the digest of `alpha` is not the one given");
    check(&three, &bytes("alpha", 4), request(three.sha256), "the bytes of `alpha` changed meanwhile");
    let longer = Candidate { size: three.size + 1, ..three.clone() };
    check(&longer, &bytes("alpha", 3), request(three.sha256), "the bytes of `alpha` changed meanwhile");
    let one = candidate("alpha", 1);
    check(&one, &bytes("alpha", 1), request(one.sha256), "a newer component of `alpha` was approved after");
    house.trust.remove(&name("alpha"), &BTreeSet::new()).expect("removed");
    assert!(matches!(approve(&house.trust, "alpha", 1), Err(TrustError::Downgrade { .. })), "removing forgets it");
    let allowed = ApproveRequest { allow_downgrade: true, ..request(one.sha256) };
    house.trust.approve(&one, &bytes("alpha", 1), allowed).expect("allowed");
    house.check("downgraded", "1", "2", "unapproved");
    approve(&house.trust, "alpha", 1).expect("the same again needs no flag");
}

/// P7: whatever happens to the lock, what differs does not run, what does not differ does, and nothing is made good by
/// appearing.
#[test]
fn only_the_accepted_lock_counts() {
    let house = House::new();
    let good = house.lock();
    let lock = Lock::parse(&good).expect("a lock");
    let with = |change: &dyn Fn(&mut Lock)| {
        let mut lock = lock.clone();
        change(&mut lock);
        lock.render(&BTreeSet::new()).expect("text")
    };
    let alpha = |lock: &mut Lock| lock.plugins.get_mut("alpha").expect("alpha").clone();
    let check = |what: &str, text: Option<String>, alpha: &str, beta: &str, other: &str| {
        match text {
            Some(text) => house.write("portcullis.lock", &text),
            None => fs::remove_file(house.path("portcullis.lock")).expect("removed"),
        }
        house.check(what, alpha, beta, other);
        house.check("the second time", alpha, beta, other);
        house.write("portcullis.lock", &good);
        house.check("mended", "2", "2", "unapproved");
    };
    check("deleted", None, "deleted", "deleted", "unapproved");
    check("emptied", Some(String::new()), "damaged", "damaged", "damaged");
    check("cut short", Some(good[..good.len() / 2].to_owned()), "damaged", "damaged", "damaged");
    check("not TOML", Some("\u{0}".to_owned()), "damaged", "damaged", "damaged");
    check("newer", Some("version = 2".to_owned()), "damaged", "damaged", "damaged");
    check("a block lost", Some(with(&|lock| _ = lock.plugins.remove("alpha"))), "removed", "2", "unapproved");
    check(
        "comments and order",
        Some(good.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()),
        "2",
        "2",
        "unapproved",
    );
    let edited = with(&|lock| lock.plugins.get_mut("alpha").expect("alpha").limits.memory += 65536);
    check("a limit raised", Some(edited), "edited limits.memory", "2", "unapproved");
    let edited = with(&|lock| lock.plugins.get_mut("beta").expect("beta").approved_by = "mallory".to_owned());
    check("another name", Some(edited), "2", "edited approved-by", "unapproved");
    let edited = with(&|lock| lock.plugins.get_mut("alpha").expect("alpha").sha256 = Digest::of(b"evil"));
    check("other bytes", Some(edited), "edited sha256", "2", "unapproved");
    let older = with(&|lock| lock.plugins.get_mut("alpha").expect("alpha").sha256 = candidate("alpha", 1).sha256);
    check("older bytes", Some(older), "older sha256", "2", "unapproved");
    let pulled = with(&|lock| {
        let block = alpha(lock);
        lock.plugins.insert(name("other"), block);
    });
    check("a block pulled", Some(pulled), "2", "2", "never_accepted");
}

/// A lock that lies there before anything was accepted loads nothing: no trust on first use.
#[test]
fn a_lock_from_elsewhere_waits_for_an_operator() {
    let elsewhere = House::new();
    let dir = tempfile::tempdir().expect("a folder");
    fs::copy(elsewhere.path("portcullis.lock"), dir.path().join("portcullis.lock")).expect("copied");
    let house = House { trust: open(dir.path(), 9, None), dir };
    house.check("cloned", "never_accepted", "never_accepted", "unapproved");
    let review = house.trust.lock_changes().expect("reviewed");
    assert_eq!((review.added.len(), review.changed.len(), review.removed.len()), (2, 0, 0));
    house.check("shown", "never_accepted", "never_accepted", "unapproved");
    let wrong = house.trust.accept_lock(Digest::of(b"other"), false).expect_err("another lock");
    assert!(matches!(wrong, TrustError::LockChanged { .. }), "{wrong}");
    house.check("refused", "never_accepted", "never_accepted", "unapproved");
    // One alone, from its own bytes, leaves the other as it is.
    approve(&house.trust, "alpha", 2).expect("approved");
    house.check("one approved", "2", "never_accepted", "unapproved");
    let review = house.trust.lock_changes().expect("reviewed");
    house.trust.accept_lock(review.digest, false).expect("accepted");
    house.check("accepted", "2", "2", "unapproved");
    assert!(house.trust.lock_changes().expect("reviewed").is_empty());
}

#[test]
fn accepting_a_lock_shows_what_it_changes_and_asks_before_going_back() {
    let house = House::new();
    let old = house.lock();
    approve(&house.trust, "alpha", 3).expect("approved");
    house.trust.remove(&name("beta"), &BTreeSet::new()).expect("removed");
    approve(&house.trust, "gamma", 1).expect("approved");
    house.write("portcullis.lock", &old);
    let review = house.trust.lock_changes().expect("reviewed");
    let names = |names: Vec<&PluginName>| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(review.added.keys().collect()), ["beta"]);
    assert_eq!(names(review.changed.keys().collect()), ["alpha"]);
    assert_eq!(names(review.removed.keys().collect()), ["gamma"]);
    assert_eq!(names(review.downgrades.iter().collect()), ["alpha"]);
    let error = house.trust.accept_lock(review.digest, false).expect_err("a downgrade");
    assert!(error.hint().expect("a hint").ends_with("--allow-downgrade"), "{error}");
    house.check("refused", "older sha256 tools.alpha_one", "never_accepted", "unapproved");
}

/// The host's key or its record is lost: nothing runs, nothing is approved on top, and one command starts over.
#[test]
fn a_lost_key_or_record_is_never_an_empty_record() {
    type Spoil = fn(&House);
    let check = |what: &str, code: &str, spoil: Spoil, key: u8| {
        let mut house = House::new();
        house.trust.disable(&name("beta")).expect("disabled");
        spoil(&house);
        house.trust = open(house.dir.path(), key, None);
        house.check(what, code, code, "unapproved");
        let error = approve(&house.trust, "alpha", 3).expect_err(what);
        assert_eq!(error.hint().as_deref(), Some("portcullis approve --lock"), "{what}: {error}");
        assert!(house.trust.remove(&name("alpha"), &BTreeSet::new()).is_err(), "{what}");
        assert!(house.trust.disable(&name("alpha")).is_err(), "{what}");
        let review = house.trust.lock_changes().expect(what);
        assert!(review.starts_over.is_some() && review.added.len() == 2, "{what}");
        // Everything is shown as new; what an unsealed record says is older needs no flag.
        house.trust.accept_lock(review.digest, false).expect(what);
        house
    };
    // What was disabled stays so where it can still be read.
    let house = check("the key is another", "record", |_| (), 8);
    house.check("started over", "2", "disabled 2", "unapproved");
    assert!(matches!(approve(&house.trust, "alpha", 1), Err(TrustError::Downgrade { .. })));
    let house =
        check("the record is cut short", "record", |house| house.write("state/accepted.json", "{\"version\":1,"), 7);
    house.check("started over", "2", "2", "unapproved");
    let pipe: Spoil = |house| {
        fs::remove_file(house.path("state/accepted.json")).expect("removed");
        let made = std::process::Command::new("mkfifo").arg(house.path("state/accepted.json")).status();
        assert!(made.expect("mkfifo").success());
    };
    check("the record is a pipe", "record", pipe, 7);

    let house = House::new();
    house.write("state/accepted.json", "{\"version\":2,\"new\":true}");
    house.check("newer", "record", "record", "unapproved");
    assert!(house.trust.lock_changes().is_err(), "a newer record is not overwritten");
    assert!(house.trust.accept_lock(Digest::of(house.lock().as_bytes()), false).is_err());
}

#[test]
fn a_damaged_lock_takes_no_approval_and_still_lets_disable() {
    let house = House::new();
    let good = house.lock();
    house.write("portcullis.lock", &good.replace("version = 1", "version = 1\n<<<<<<< HEAD"));
    let error = approve(&house.trust, "alpha", 3).expect_err("a conflict");
    assert!(error.hint().expect("a hint").contains("<<<<<<<"), "{error}");
    house.trust.disable(&name("beta")).expect("disabled");
    house.check("disabled", "damaged", "disabled 2", "damaged");
    fs::remove_file(house.path("portcullis.lock")).expect("removed");
    let made = std::process::Command::new("mkfifo").arg(house.path("portcullis.lock")).status();
    assert!(made.expect("mkfifo").success());
    house.check("a pipe", "damaged", "disabled 2", "damaged");
    assert!(approve(&house.trust, "alpha", 3).is_err());
    fs::remove_file(house.path("portcullis.lock")).expect("removed");
    house.write("portcullis.lock", "");
    let error = house.trust.accept_lock(Digest::of(b""), false).expect_err("an empty file is no lock");
    assert!(matches!(error, TrustError::Lock(LockError::Damaged { .. })), "{error}");
}

#[test]
fn what_is_disabled_stays_so_until_it_is_approved_again() {
    let house = House::new();
    assert!(house.trust.disable(&name("alpha")).expect("disabled"));
    assert!(!house.trust.disable(&name("alpha")).expect("disabled"));
    house.check("disabled", "disabled 2", "2", "unapproved");
    approve(&house.trust, "beta", 3).expect("approved");
    let digest = house.trust.lock_changes().expect("reviewed").digest;
    house.trust.accept_lock(digest, false).expect("accepted");
    house.check("others were written", "disabled 2", "3", "unapproved");
    approve(&house.trust, "alpha", 2).expect("approved");
    house.check("approved again", "2", "3", "unapproved");
    house.trust.disable(&name("other")).expect("disabled");
    house.check("before it was ever approved", "2", "3", "disabled ");
}

#[test]
fn a_linked_lock_stays_a_link() {
    let house = House::new();
    fs::create_dir(house.path("elsewhere")).expect("a folder");
    fs::rename(house.path("portcullis.lock"), house.path("elsewhere/shared.lock")).expect("moved");
    symlink("elsewhere/shared.lock", house.path("portcullis.lock")).expect("a link");
    approve(&house.trust, "alpha", 3).expect("approved");
    assert!(house.path("portcullis.lock").is_symlink());
    house.check("through the link", "3", "2", "unapproved");
    fs::remove_file(house.path("elsewhere/shared.lock")).expect("removed");
    house.check("a link to nothing", "deleted", "deleted", "unapproved");
    approve(&house.trust, "alpha", 3).expect("approved");
    assert!(house.path("portcullis.lock").is_symlink());
    house.check("made again", "3", "removed", "unapproved");
}

#[test]
fn a_write_keeps_the_blocks_of_others_and_the_last_generations() {
    let house = House::new();
    let foreign = Lock::parse(&house.lock()).expect("a lock").plugins.remove("beta").expect("beta");
    let mut lock = Lock::parse(&house.lock()).expect("a lock");
    lock.plugins.insert(name("other"), foreign.clone());
    house.write("portcullis.lock", &lock.render(&BTreeSet::new()).expect("text"));
    for version in 3..10 {
        approve(&house.trust, "alpha", version).expect("approved");
    }
    assert_eq!(Lock::parse(&house.lock()).expect("a lock").plugins.get("other"), Some(&foreign));
    house.check("approved beside", "9", "2", "never_accepted");
    let whole = |version: &u64| {
        let candidate = candidate("alpha", *version);
        let mut definitions =
            candidate.tools.values().map(|tool| crate::definition_digest(&tool.json).expect("a digest"));
        let kept = definitions.all(|digest| house.trust.components().definition(digest).is_ok());
        let bytes = house.trust.components().get(candidate.sha256).is_ok();
        assert_eq!(kept, bytes, "version {version} is there in part");
        bytes
    };
    assert_eq!((1..10).filter(whole).collect::<Vec<_>>(), [6, 7, 8, 9]);
    assert!(house.trust.components().get(foreign.sha256).is_ok());
}

/// A whole write between the reading of the lock and of the record is no difference of the two.
#[test]
fn a_write_while_reading_is_no_trouble() {
    let house = House::new();
    let written = std::cell::Cell::new(false);
    let (lock, record) = house.trust.both_observed(&|| {
        if !written.replace(true) {
            approve(&house.trust, "alpha", 3).expect("approved");
        }
    });
    let lock = lock.expect("a lock").as_deref().map(Lock::read).transpose();
    let standing = Standing::new(lock, record, Vec::new());
    assert_eq!(word(&standing.of(&name("alpha"))), "3");
}

#[test]
fn no_key_is_shown() {
    let house = House::new();
    assert!(!format!("{:?}", house.trust).contains("7, 7"));
    assert!(matches!(LockReason::Deleted.hint(), Some(hint) if hint.contains("git checkout")));
}

/// H3: what the operator has read is more than bytes.
#[test]
fn a_review_is_of_everything_that_is_approved() {
    let house = House::new();
    let read = candidate("alpha", 3);
    let review = read.digest().expect("a digest");
    let reviewed = |candidate: &Candidate, prefix: &str| {
        let review = Some(DigestPrefix::parse(prefix).expect("a prefix"));
        let request = request(candidate.sha256);
        let expected = crate::Expected { review, ..request.expected };
        house.trust.approve(candidate, &bytes("alpha", 3), ApproveRequest { expected, ..request })
    };
    type Change = fn(&mut Candidate);
    let changes: [Change; 7] = [
        |c| c.source.push('x'),
        |c| c.mapping += 1,
        |c| c.tools.values_mut().for_each(|tool| tool.function.push('x')),
        |c| c.tools.values_mut().for_each(|tool| tool.json["description"] = "Other.".into()),
        |c| _ = c.imports.insert("wasi:sockets/tcp@0.2.0".to_owned()),
        |c| c.grants = crate::samples::grants(),
        |c| c.limits.memory += 65536,
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut other = read.clone();
        change(&mut other);
        let error = reviewed(&other, &review.to_string()).expect_err("another");
        assert!(matches!(error, TrustError::Review { .. }), "{at}: {error}");
        assert_eq!(error.hint().as_deref(), Some("portcullis inspect alpha"));
        house.check("not approved", "2", "2", "unapproved");
    }
    let approved = reviewed(&read, &review.short()).expect("the same");
    assert_eq!(approved.review, review);
    house.check("approved", "3", "2", "unapproved");
}

/// M6: where the last write fails the approval stands, or the lock is what it was.
#[test]
fn an_approval_that_is_reported_as_refused_does_not_stand() {
    // The name of the file beside the record, which the write cannot take away.
    let blocked = |house: &House| {
        fs::create_dir(house.path("state/.accepted.json.tmp")).expect("a folder");
    };
    thread_local!(static FOLDER: std::cell::RefCell<PathBuf> = std::cell::RefCell::default());
    let spoil: fn(Step) = |step| {
        if (step.target, step.phase) == (Target::Lock, Phase::Renamed) {
            FOLDER.with_borrow(|folder| fs::create_dir(folder.join("state/.accepted.json.tmp")).expect("a folder"));
        }
    };
    let spoiled = || {
        let house = House::new();
        FOLDER.set(house.dir.path().to_owned());
        House { trust: open(house.dir.path(), 7, Some(spoil)), dir: house.dir }
    };
    let house = spoiled();
    let approved = approve(&house.trust, "alpha", 3).expect("it stands");
    assert!(approved.untidied.is_some_and(|why| why.contains("accepted.json")), "nothing is said of what failed");
    house.check("approved, not tidied", "3", "2", "unapproved");
    let house = spoiled();
    let removed = house.trust.remove(&name("alpha"), &BTreeSet::new()).expect("it stands");
    assert!(removed.untidied.is_some());
    house.check("removed, not tidied", "unapproved", "2", "unapproved");
    // It would stay disabled: that is no approval.
    let house = spoiled();
    house.trust.disable(&name("alpha")).expect("disabled");
    let lock = house.lock();
    approve(&house.trust, "alpha", 3).expect_err("it does not stand");
    assert_eq!(house.lock(), lock, "what was refused stands in the lock");
    house.check("as before", "disabled 2", "2", "unapproved");
    // Before the lock is touched, nothing has happened.
    let house = House::new();
    blocked(&house);
    approve(&house.trust, "alpha", 3).expect_err("no journal");
    house.check("as before", "2", "2", "unapproved");
}

/// L1: taking an approval back switches nothing on.
#[test]
fn what_is_removed_stays_disabled() {
    let house = House::new();
    house.trust.disable(&name("alpha")).expect("disabled");
    house.trust.remove(&name("alpha"), &BTreeSet::new()).expect("removed");
    house.check("removed", "disabled ", "2", "unapproved");
    approve(&house.trust, "alpha", 3).expect("approved");
    house.check("approved", "3", "2", "unapproved");
}

/// L2: whoever may read the lock's folder can hold it, and keeps nobody from writing.
#[test]
fn a_folder_that_somebody_holds_keeps_no_approval_away() {
    let house = House::new();
    let _held = Exclusive::folder(house.dir.path()).expect("held");
    approve(&house.trust, "alpha", 3).expect("approved");
    house.check("approved", "3", "2", "unapproved");
}
