//! The weather: a service behind a grant, and a key that the plugin never sees.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};

use crate::{
    host::Folder,
    languages::{JAVASCRIPT, built, cases, plugin, refused_without},
    raw,
    tools::toolchain,
};

/// The key. No guest, client or record may see it.
const KEY: &str = "canary-6b657920746f20736179";

/// The service as the cases have it, and how many requests had the key.
struct Service {
    port: u16,
    keys: Arc<AtomicUsize>,
}

fn service() -> Service {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let keys = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&keys);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let counted = Arc::clone(&counted);
            std::thread::spawn(move || answer(BufReader::new(stream), &counted));
        }
    });
    Service { port, keys }
}

fn answer(mut reader: BufReader<std::net::TcpStream>, keys: &AtomicUsize) {
    let (mut request, mut line, mut key) = (String::new(), String::new(), String::new());
    _ = reader.read_line(&mut request);
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("x-api-key")
        {
            key = value.trim().to_owned();
        }
        line.clear();
    }
    if key != KEY {
        respond(&mut reader, "401 Unauthorized", "{}");
        return;
    }
    keys.fetch_add(1, Ordering::Relaxed);
    let query =
        request.split(' ').nth(1).and_then(|target| target.strip_prefix("/data/2.5/weather?q=")).expect("a question");
    let (city, units) = query.split_once("&units=").expect("units");
    let city = decoded(city);
    let report = json!({
        "name": city.split(',').next(), "sys": { "country": "FR" }, "weather": [{ "description": "light rain" }],
        "main": { "temp": 11.5, "feels_like": 10.25, "humidity": 87 }, "wind": { "speed": 4.1 }, "units": units,
    });
    match &*city {
        "Nowhere" => respond(&mut reader, "404 Not Found", "{\"message\": \"city not found\"}"),
        "Refused" => respond(&mut reader, "401 Unauthorized", "{}"),
        "Often" => respond(&mut reader, "429 Too Many Requests", "{}"),
        "Broken" => respond(&mut reader, "503 Service Unavailable", "<html>"),
        "Moved" => respond(&mut reader, "302 Found\r\nlocation: http://127.0.0.1:1/", ""),
        "Html" => respond(&mut reader, "200 OK", "<html>"),
        "Empty" => respond(&mut reader, "200 OK", "{}"),
        "Endless" => respond(&mut reader, "200 OK", &"x".repeat(1 << 20)),
        "Least" => {
            let least = json!({ "name": city, "weather": [{ "description": "fog" }], "main": { "temp": 1 } });
            respond(&mut reader, "200 OK", &least.to_string());
        }
        // A service that says the key back, where a plugin would hand it on.
        "Echo" => {
            let echo = json!({ "name": key, "weather": [{ "description": key }], "main": { "temp": 1 } });
            respond(&mut reader, "200 OK", &echo.to_string());
        }
        "Cut" => {
            // The client may have gone.
            _ = reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"name\":");
        }
        // Until the client goes away.
        "Slow" => _ = reader.read_line(&mut line),
        _ => respond(&mut reader, "200 OK", &report.to_string()),
    }
}

fn respond(reader: &mut BufReader<std::net::TcpStream>, status: &str, body: &str) {
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    // The client may have gone.
    _ = reader.get_mut().write_all((head + body).as_bytes());
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        rest = others;
        bytes.push(match (first, others) {
            (b'%', [high, low, others @ ..]) => {
                rest = others;
                let pair = [*high, *low];
                u8::from_str_radix(std::str::from_utf8(&pair).expect("hex"), 16).expect("hex")
            }
            (byte, _) => *byte,
        });
    }
    String::from_utf8(bytes).expect("a text")
}

/// The section of the plugin's page, for a service on this machine.
fn config(base: &str, granted: u16) -> String {
    format!(
        "[plugins.weather]\nsource = \"weather/dist/weather.wasm\"\nprefix = \"\"\n[plugins.weather.grants]\n\
         http = [\"GET https://api.openweathermap.org/data/2.5/weather\",\n\
         {{ allow = \"GET http://127.0.0.1:{granted}/data/2.5/weather\", private = [\"127.0.0.0/8\"] }}]\n\
         secrets = [{{ name = \"openweather\", header = \"x-api-key\", to = \"http://127.0.0.1:{granted}\" }}]\n\
         env = {{ BASE_URL = {base:?} }}\n[secrets.openweather]\nfile = \"key\"\n[server]\nhttp = \"127.0.0.1:0\"\n"
    )
}

fn configure(folder: &Folder, config: &str) {
    fs::write(folder.path().join("portcullis.toml"), config).expect("a configuration");
    folder.approve_all();
}

#[test]
fn reports_come_from_the_granted_service_by_a_key_that_the_plugin_never_sees() {
    let bare = "[plugins.weather]\nsource = \"weather/dist/weather.wasm\"\n";
    let Some(folder) = built("weather", JAVASCRIPT, bare) else { return };
    refused_without(
        &folder,
        "weather",
        &[
            "http = [\"GET https://api.openweathermap.org/data/2.5/weather\"]",
            "secrets = [{ name = \"openweather\", header = \"x-api-key\", to = \"https://api.openweathermap.org\" }]",
            "env = { \"BASE_URL\" = \"VALUE\" }",
        ],
    );
    let Service { port, keys } = service();
    fs::write(folder.path().join("key"), KEY).expect("a key");
    configure(&folder, &config(&format!("http://127.0.0.1:{port}"), port));
    let inspected = folder.json(&["inspect", "weather", "--json"]);
    assert!(inspected.to_string().contains("Says what the weather in a city is now"), "{inspected:#}");

    let host = folder.serve();
    cases("weather", &host);
    assert!(keys.load(Ordering::Relaxed) > 8, "each request had the key");
    let ask = |city: &str| raw::call(&host.address, "get_weather", json!({ "city": city }))["result"].clone();
    let said = |answer: &Value| answer["content"][0]["text"].as_str().unwrap_or_default().to_owned();
    // The service says the key back: what the plugin reads is masked.
    let echoed = ask("Echo");
    assert_eq!(echoed["structuredContent"]["city"], "*".repeat(KEY.len()), "{echoed:#}");
    for (city, words) in [("Cut", "broke off"), ("Slow", "is slow: try again later")] {
        let answer = ask(city);
        assert!(answer["isError"] == true && said(&answer).contains(words), "{city}: {answer:#}");
    }
    let log = host.end().join("\n");
    for (what, text) in [
        ("the log", log),
        ("the audit log", fs::read_to_string(folder.path().join(".portcullis/audit.jsonl")).expect("a log")),
        ("the lock", fs::read_to_string(folder.path().join("portcullis.lock")).expect("a lock")),
    ] {
        assert!(!text.contains(KEY), "the key stands in {what}");
    }

    // A base that nothing grants, and one where nobody is: the model is told no more than that.
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    for (base, granted) in
        [(format!("http://127.0.0.1:{port}/"), nobody), (format!("http://127.0.0.1:{nobody}"), nobody)]
    {
        fs::remove_file(folder.path().join("portcullis.lock")).expect("a lock");
        fs::remove_dir_all(folder.path().join(".portcullis/trust")).expect("a record");
        configure(&folder, &config(&base, granted));
        let before = keys.load(Ordering::Relaxed);
        let host = folder.serve();
        let answer = raw::call(&host.address, "get_weather", json!({ "city": "Paris" }))["result"].clone();
        assert!(said(&answer).contains("cannot be reached from here"), "{base}: {answer:#}");
        assert_eq!(keys.load(Ordering::Relaxed), before);
    }
}

#[test]
fn the_pure_part_in_node() {
    let Some(tools) = toolchain("bin/node") else { return };
    let tests = plugin("weather").join("test/report.test.js");
    let output = Command::new(tools.join("bin/node")).arg("--test").arg(tests).output().expect("node");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("pass 7"), "{said}");
}
