//! What it costs that everybody is asked: keys or tokens, roles and limits on, beside the same host without them.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};

use crate::{
    client::{Client, Request},
    report::{Bound, Report},
    samples::Least,
    server::{Bench, House, Side},
};

const CALLS: usize = 8_000;
const IN_FLIGHT: usize = 16;
/// Agents with a key each; who is measured has the last one, which is looked for the longest.
const AGENTS: usize = 20;
/// Three roles, patterns before the one that matters, and every limit, so high that none is reached.
const RULES: &str = "
[roles.reader]
allow = [\"context_read\", \"context_list\"]
resources = [\"kv://shared/**\"]
[roles.researcher]
allow = [\"context_*\", \"weather/*\", \"echo_*\"]
deny = [\"context_delete\", \"*_remove\"]
resources = [\"kv://shared/**\", \"kv://agent-{principal}/**\"]
[roles.keeper]
allow = [\"*\"]
[agent-defaults]
concurrency = 5000
calls-per-minute = 10_000_000
fuel-per-day = 9_000_000_000_000_000
";
const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "https://tools.example/mcp";

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let (open, keys, tokens) = (House::echo()?, asked()?, asked()?);
    let key = key(bench, &keys)?;
    let token = token(&tokens)?;
    let mut sides = [
        bench.http(Side::Ours(&open))?,
        bench.http(Side::Ours(&keys))?.showing(&key),
        bench.http(Side::Ours(&tokens))?.showing(&token),
    ];
    let request = Request::echo();
    ensure!(refused(bench, &request)?, "the host that is measured asks nobody");
    let mut best = [Least::default(); 3];
    for round in 0..=bench.rounds {
        // In turn, and each round begins with another side.
        for at in 0..sides.len() {
            let at = (at + round as usize) % sides.len();
            let (client, best) = sides.get_mut(at).zip(best.get_mut(at)).context("a side")?;
            let time = client.many(&request, CALLS, IN_FLIGHT)?;
            // The first round warms up.
            if round > 0 {
                best.add(time);
            }
        }
    }
    let [off, keys, tokens] = best.map(|best| best.rate(CALLS));
    let what = format!("keys, roles, limits, {IN_FLIGHT} in flight");
    report.ratio(&what, "calls/s", off, keys, Bound::AtLeast(0.9))?;
    let what = format!("cached tokens, the same, {IN_FLIGHT} in flight");
    report.ratio(&what, "calls/s", off, tokens, Bound::AtLeast(0.9))
}

/// A house whose door asks everybody.
fn asked() -> anyhow::Result<House> {
    let agents: String = (0..AGENTS).map(|at| format!("[agents.agent-{at}]\nrole = \"researcher\"\n")).collect();
    let issuer = format!(
        "[auth.oauth]\nissuer = \"{ISSUER}\"\naudience = \"{AUDIENCE}\"\nrole-claim = \"role\"\njwks = \"keys.json\"\n"
    );
    let house = House::new(&[("echo", portcullis_artifacts::ECHO, &format!("{RULES}{agents}{issuer}"))])?;
    house.put("keys.json", b"{\"keys\":[]}")?;
    Ok(house)
}

/// A key of the last of the agents.
fn key(bench: &Bench, house: &House) -> anyhow::Result<String> {
    let mut last = None;
    for at in 0..AGENTS {
        last = Some(bench.key(house, &format!("agent-{at}"))?);
    }
    last.context("there is no agent")
}

/// A token of an issuer whose keys are in the house's file.
fn token(house: &House) -> anyhow::Result<String> {
    let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
    let none = |_| anyhow!("ring made no key");
    let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(none)?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).map_err(|error| anyhow!("{error}"))?;
    let point = pair.public_key().as_ref();
    let half = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(point.get(range).unwrap_or_default());
    let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": "1", "x": half(1..33), "y": half(33..65) });
    house.put("keys.json", json!({ "keys": [jwk] }).to_string().as_bytes())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "bench", "role": "researcher", "exp": now + 7200 });
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(json!({ "alg": "ES256", "typ": "at+jwt", "kid": "1" })), part(claims));
    let signature = pair.sign(&random, text.as_bytes()).map_err(none)?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// Whether who shows nothing gets nothing.
fn refused(bench: &Bench, request: &Request) -> anyhow::Result<bool> {
    let house = asked()?;
    Ok(bench.http(Side::Ours(&house))?.once(request).is_err())
}
